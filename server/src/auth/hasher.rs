//! Password hashing on threads of its own: bounded work, bounded queue, bounded memory.
//!
//! One argon2id hash takes 19 MiB and tens of milliseconds. On the async workers it would stall every
//! other request; on tokio's blocking pool a burst of sign-ins would start hundreds at once. So there
//! are as many threads as cores, each keeps its block of memory from one hash to the next (a fresh one
//! a hash made the process grow far beyond what was in use), and at most [`QUEUE`] callers wait.

use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use argon2::{Algorithm, Argon2, Block, Params, PasswordHash, Version};
use base64::{
    Engine, alphabet,
    engine::{
        DecodePaddingMode::RequireNone,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD_NO_PAD},
    },
};
use subtle::ConstantTimeEq;
use tokio::sync::oneshot;

use super::{NoRandomness, random, strength};

/// Callers that may wait for a thread; one more is [`HashError::Overloaded`].
const QUEUE: usize = 32;

/// 19 MiB, in KiB: the cost of new hashes, as OWASP recommends for argon2id.
const MEMORY: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const OUTPUT: usize = 32;
const SALT: usize = 16;

/// The most that a hash made elsewhere may cost us: 64 MiB, 8 passes, 4 lanes.
const MAX_MEMORY: u32 = 64 * 1024;
const MAX_PASSES: u32 = 8;
const MAX_LANES: u32 = 4;

/// Why there is no hash and no verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashError {
    /// Too many callers wait already; try again in a moment.
    Overloaded,
    /// The stored hash cannot be read, or hashing itself failed.
    Broken(String),
}

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overloaded => f.write_str("too many passwords wait to be checked"),
            Self::Broken(what) => write!(f, "cannot hash or check a password: {what}"),
        }
    }
}

impl std::error::Error for HashError {}

impl From<NoRandomness> for HashError {
    fn from(none: NoRandomness) -> Self {
        Self::Broken(none.to_string())
    }
}

/// The memory of one thread, kept from hash to hash.
#[derive(Default)]
struct Memory(Vec<Block>);

impl Memory {
    fn argon2(
        &mut self,
        params: Params,
        password: &[u8],
        salt: &[u8],
        out: &mut [u8],
    ) -> Result<(), HashError> {
        let broken = |wrong: argon2::Error| HashError::Broken(wrong.to_string());
        let blocks = params.block_count();
        if self.0.len() < blocks {
            self.0.resize(blocks, Block::default());
        }
        let done = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
            password,
            salt,
            out,
            &mut self.0[..blocks],
        );
        // an imported hash may have cost more than ours do: that much is not kept
        let usual = MEMORY as usize;
        if self.0.len() > usual {
            self.0.truncate(usual);
            self.0.shrink_to_fit();
        }
        done.map_err(broken)
    }
}

type Job = Box<dyn FnOnce(&mut Memory) + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    busy: usize,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // nothing that can panic runs under this lock
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut memory = Memory::default();
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                queue.busy += 1;
                drop(queue);
                // the caller sees its channel closed; the thread goes on with the next
                if catch_unwind(AssertUnwindSafe(|| job(&mut memory))).is_err() {
                    memory = Memory::default();
                }
                queue = self.lock();
                queue.busy -= 1;
            } else if queue.closed {
                return;
            } else {
                queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// Hashes and checks passwords; dropping it ends its threads.
pub struct Hasher {
    shared: Arc<Shared>,
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.arrived.notify_all();
    }
}

impl Hasher {
    /// Starts `threads` threads (at least one); each takes 19 MiB with its first hash.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let hasher = Self { shared: Arc::new(Shared::default()) };
        for number in 0..threads.max(1) {
            let shared = Arc::clone(&hasher.shared);
            std::thread::Builder::new().name(format!("argon2-{number}")).spawn(move || shared.work())?;
        }
        Ok(hasher)
    }

    /// Callers that wait for a thread now.
    pub fn waiting(&self) -> usize {
        self.shared.lock().jobs.len()
    }

    /// Hashes that are computed now.
    pub fn busy(&self) -> usize {
        self.shared.lock().busy
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let (answer, answered) = oneshot::channel();
        {
            let mut queue = self.shared.lock();
            if queue.jobs.len() >= QUEUE {
                return Err(HashError::Overloaded);
            }
            queue.jobs.push_back(Box::new(move |memory| {
                // whoever went away while waiting is not worth 19 MiB
                if !answer.is_closed() {
                    drop(answer.send(work(memory)));
                }
            }));
        }
        self.shared.arrived.notify_one();
        answered.await.map_err(|_| HashError::Broken("the hashing thread failed".to_owned()))
    }

    /// Hashes a new password: argon2id in PHC form.
    ///
    /// # Errors
    /// [`HashError::Overloaded`], or [`HashError::Broken`] without randomness or memory.
    pub async fn hash(&self, password: &str) -> Result<String, HashError> {
        let password = password.to_owned();
        let salt: [u8; SALT] = random()?;
        self.run(move |memory| {
            let mut out = [0; OUTPUT];
            memory.argon2(ours()?, password.as_bytes(), &salt, &mut out)?;
            let (salt, out) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(out));
            Ok(format!("$argon2id$v=19$m={MEMORY},t={PASSES},p={LANES}${salt}${out}"))
        })
        .await?
    }

    /// Whether `password` is the one that `stored` was made of: argon2id in PHC form, or bcrypt.
    ///
    /// # Errors
    /// [`HashError::Overloaded`], or [`HashError::Broken`] when `stored` cannot be read or costs too much.
    pub async fn verify(&self, password: &str, stored: &str) -> Result<bool, HashError> {
        let (password, stored) = (password.to_owned(), stored.to_owned());
        self.run(move |memory| check(memory, &password, &stored)).await?
    }

    /// Costs what [`Hasher::verify`] of a hash of ours costs, and is never right: for unknown people,
    /// so that the time of the answer does not tell who exists.
    ///
    /// # Errors
    /// As [`Hasher::verify`].
    pub async fn verify_dummy(&self, password: &str) -> Result<(), HashError> {
        let password = password.to_owned();
        self.run(move |memory| {
            let mut out = [0; OUTPUT];
            memory.argon2(ours()?, password.as_bytes(), &[0; SALT], &mut out)?;
            // compared like a real one, so that the work is not optimised away
            std::hint::black_box(bool::from(out.ct_eq(&[0; OUTPUT])));
            Ok(())
        })
        .await?
    }

    /// What is wrong with a new password for a person whose `context` (email, name) is known, if it
    /// can be guessed; computed here because a long password takes milliseconds.
    ///
    /// # Errors
    /// [`HashError::Overloaded`].
    pub async fn weakness(&self, password: &str, context: &[&str]) -> Result<Option<String>, HashError> {
        let password = password.to_owned();
        let context: Vec<String> = context.iter().map(|&word| word.to_owned()).collect();
        self.run(move |_| {
            let context: Vec<&str> = context.iter().map(String::as_str).collect();
            strength::weakness(&password, &context)
        })
        .await
    }

    /// Whether passwords could be checked against this hash; else what is wrong with it, for people.
    ///
    /// # Errors
    /// What is wrong.
    pub fn can_check(stored: &str) -> Result<(), String> {
        read(stored).map(|_| ()).map_err(|what| format!("{what}, so no password could be checked against it"))
    }

    /// Whether a hash that was just found right should be replaced by a fresh one of ours.
    pub fn needs_rehash(stored: &str) -> bool {
        let ours = format!("$argon2id$v=19$m={MEMORY},t={PASSES},p={LANES}$");
        !stored.starts_with(&ours)
    }
}

fn ours() -> Result<Params, HashError> {
    Params::new(MEMORY, PASSES, LANES, Some(OUTPUT)).map_err(|wrong| HashError::Broken(wrong.to_string()))
}

/// A stored hash, read.
enum Stored {
    Bcrypt,
    Argon2 { params: Params, salt: Vec<u8>, expected: Vec<u8> },
}

/// Reads a hash; else says what is wrong with it. Never the hash itself: that would end in a log.
fn read(stored: &str) -> Result<Stored, &'static str> {
    if let Some(rest) = stored.strip_prefix("$2") {
        // bcrypt itself would find this out only after hashing
        let bytes = |text: &str| {
            let config = GeneralPurposeConfig::new().with_encode_padding(false);
            GeneralPurpose::new(&alphabet::BCRYPT, config.with_decode_padding_mode(RequireNone))
                .decode(text)
                .map(|bytes| bytes.len())
        };
        let tail = rest.get(5..).filter(|tail| tail.len() == 53 && tail.is_ascii());
        let parts = tail.map(|tail| tail.split_at(22)).ok_or("is not bcrypt")?;
        if stored.parse::<bcrypt::HashParts>().is_err() {
            return Err("is not bcrypt");
        }
        return match (bytes(parts.0), bytes(parts.1)) {
            (Ok(16), Ok(23)) => Ok(Stored::Bcrypt),
            _ => Err("is not bcrypt"),
        };
    }
    let hash = PasswordHash::new(stored).map_err(|_| "is neither PHC nor bcrypt")?;
    if hash.algorithm != argon2::ARGON2ID_IDENT || hash.version != Some(0x13) {
        return Err("is not argon2id of version 19");
    }
    let (Some(salt), Some(expected)) = (&hash.salt, &hash.hash) else {
        return Err("lacks its salt or its output");
    };
    let params = Params::try_from(&hash).map_err(|_| "has bad parameters")?;
    if params.m_cost() > MAX_MEMORY || params.t_cost() > MAX_PASSES || params.p_cost() > MAX_LANES {
        return Err("costs too much to check");
    }
    let salt: &[u8] = salt.as_ref();
    if salt.len() < argon2::MIN_SALT_LEN {
        return Err("has too short a salt");
    }
    let expected: &[u8] = expected.as_ref();
    Ok(Stored::Argon2 { params, salt: salt.to_vec(), expected: expected.to_vec() })
}

fn check(memory: &mut Memory, password: &str, stored: &str) -> Result<bool, HashError> {
    let broken = |what: &str| HashError::Broken(format!("the stored hash {what}"));
    match read(stored).map_err(broken)? {
        Stored::Bcrypt => bcrypt::verify(password, stored).map_err(|_| broken("is not bcrypt")),
        Stored::Argon2 { params, salt, expected } => {
            let mut out = vec![0; expected.len()];
            memory.argon2(params, password.as_bytes(), &salt, &mut out)?;
            Ok(out.ct_eq(&expected).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, task::Context};

    use super::*;

    /// Holds a thread of the hasher until the returned sender is dropped.
    async fn occupy(hasher: &Arc<Hasher>) -> std::sync::mpsc::Sender<()> {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (begun, beginning) = oneshot::channel();
        let other = Arc::clone(hasher);
        tokio::spawn(async move {
            other
                .run(move |_| {
                    begun.send(()).unwrap();
                    // ends when the sender is dropped
                    assert!(held.recv().is_err());
                })
                .await
        });
        beginning.await.unwrap();
        release
    }

    #[tokio::test]
    async fn accepts_the_right_password_and_no_other() {
        let hasher = Hasher::new(2).unwrap();
        let stored = hasher.hash("correct horse battery staple").await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(stored.parse::<bursar_shared::field::PasswordHash>().is_ok());
        assert!(hasher.verify("correct horse battery staple", &stored).await.unwrap());
        assert!(!hasher.verify("correct horse battery stapl", &stored).await.unwrap());
        assert!(!Hasher::needs_rehash(&stored));
        assert_ne!(stored, hasher.hash("correct horse battery staple").await.unwrap());
        hasher.verify_dummy("whatever").await.unwrap();
    }

    #[tokio::test]
    async fn accepts_hashes_made_elsewhere_and_wants_them_renewed() {
        let hasher = Hasher::new(1).unwrap();
        let bcrypt = bcrypt::hash("a long password", 4).unwrap();
        assert!(hasher.verify("a long password", &bcrypt).await.unwrap());
        assert_eq!(Hasher::can_check(&bcrypt), Ok(()));
        assert!(!hasher.verify("another password", &bcrypt).await.unwrap());
        assert!(Hasher::needs_rehash(&bcrypt));

        let mut out = [0; 16];
        let params = Params::new(64, 1, 2, Some(16)).unwrap();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(b"a long password", b"somesalt", &mut out)
            .unwrap();
        let out = STANDARD_NO_PAD.encode(out);
        let cheap = format!("$argon2id$v=19$m=64,t=1,p=2${}${out}", STANDARD_NO_PAD.encode(b"somesalt"));
        assert!(hasher.verify("a long password", &cheap).await.unwrap());
        assert_eq!(Hasher::can_check(&cheap), Ok(()));
        assert!(!hasher.verify("a long passwore", &cheap).await.unwrap());
        assert!(Hasher::needs_rehash(&cheap));
    }

    #[tokio::test]
    async fn refuses_hashes_it_cannot_or_must_not_compute() {
        let hasher = Hasher::new(1).unwrap();
        for stored in [
            "",
            "secret",
            "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ",
            "$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=16$m=64,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=1048576,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=64,t=4000000,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
            "$2b$04$tooshort",
            "$2b$04$!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!",
            "$2b$xx$CCCCCCCCCCCCCCCCCCCCC.CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC",
            "$argon2id$v=19$m=8,t=1,p=4$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=64,t=1,p=1$!!!!$####AAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert!(Hasher::can_check(stored).is_err_and(|why| !why.contains('$')), "{stored}");
            let verdict = hasher.verify("a long password", stored).await;
            assert!(
                matches!(&verdict, Err(HashError::Broken(why)) if !why.contains('$')),
                "{stored}: {verdict:?}"
            );
        }
    }

    #[tokio::test]
    async fn refuses_to_queue_without_bound_and_drops_who_went_away() {
        let hasher = Arc::new(Hasher::new(1).unwrap());
        let held = occupy(&hasher).await;
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut waiting: Vec<_> = (0..QUEUE).map(|_| Box::pin(hasher.run(|_| ()))).collect();
        for one in &mut waiting {
            assert!(one.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(hasher.waiting(), QUEUE);
        assert_eq!(hasher.verify_dummy("one more").await, Err(HashError::Overloaded));
        // those who leave are skipped, not computed
        drop(waiting);
        drop(held);
        while hasher.waiting() >= QUEUE {
            tokio::task::yield_now().await;
        }
        assert_eq!(hasher.run(|_| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn survives_a_panic_of_its_work() {
        let hasher = Hasher::new(1).unwrap();
        let gone = hasher.run(|_| panic!("on purpose")).await;
        assert!(matches!(gone, Err(HashError::Broken(_))));
        assert_eq!(hasher.run(|_| 7).await, Ok(7));
    }
}
