//! What breaks things on purpose: a PostgreSQL of the test's own that can be crashed, a wire that loses
//! answers, and a disk that is full, fails or cannot be written to.

use std::{
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bursar_server::testing::postgres_url;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::Random;

/// A PostgreSQL server of a test's own, with every commit synced.
pub struct Postgres {
    folder: tempfile::TempDir,
    programs: PathBuf,
    port: u16,
    /// It refuses to run as root, so somebody else runs it then.
    somebody: Option<(u32, u32)>,
    environment: Environment,
}

/// What a process finds around it.
pub type Environment = Vec<(String, String)>;

impl Postgres {
    /// A server that runs; nothing when these tests are not about PostgreSQL.
    pub fn start() -> Option<Self> {
        Self::start_in(&[], Vec::new())
    }

    /// The same with further words for initdb, and an environment.
    pub fn start_in(words: &[&str], environment: Environment) -> Option<Self> {
        postgres_url()?;
        let folder = tempfile::tempdir().unwrap();
        let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        let somebody = root.then(|| ids_of("postgres").or_else(|| ids_of("nobody")).unwrap());
        if let Some((user, group)) = somebody {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let this = Self { folder, programs: programs(), port, somebody, environment };
        let data = this.data();
        let usual = ["-D", &data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"];
        this.run("initdb", &[&usual, words].concat());
        this.go_on();
        Some(this)
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    /// A database of this name.
    pub fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// Ends it as a power cut would: nothing is written any more, nobody is told.
    pub fn crash(&self) {
        self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "-w", "-t", "60", "stop"]);
    }

    /// Starts it again; what was committed is found in its log.
    pub fn go_on(&self) {
        let settings = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=60 -c fsync=on",
            self.port
        );
        let log = self.folder.path().join("log").display().to_string();
        self.run("pg_ctl", &["-D", &self.data(), "-l", &log, "-w", "-t", "60", "-o", &settings, "start"]);
    }

    fn run(&self, program: &str, words: &[&str]) {
        let mut command = Command::new(self.programs.join(program));
        command.args(words).current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some((user, group)) = self.somebody {
            command.uid(user).gid(group).env("HOME", self.folder.path());
        }
        assert!(command.status().unwrap().success(), "{program} {words:?}");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if !std::thread::panicking() || Path::new(&self.data()).join("postmaster.pid").exists() {
            self.crash();
        }
    }
}

/// Where the programs of PostgreSQL are; the newest when there are several.
fn programs() -> PathBuf {
    let version = |path: &PathBuf| -> u32 {
        path.file_name().and_then(|name| name.to_str()?.parse().ok()).unwrap_or_default()
    };
    let of_debian = std::fs::read_dir("/usr/lib/postgresql").ok().and_then(|all| {
        let mut all: Vec<PathBuf> = all.flatten().map(|one| one.path()).collect();
        all.sort_by_key(version);
        Some(all.pop()?.join("bin"))
    });
    let folders = crate::support::setting("PATH").unwrap_or_default();
    let mut all = of_debian.into_iter().chain(std::env::split_paths(&folders));
    all.find(|folder| folder.join("initdb").exists())
        .expect("the programs of PostgreSQL: apt-get install postgresql")
}

/// User and group of a name.
fn ids_of(name: &str) -> Option<(u32, u32)> {
    let all = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = all.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut words = line.split(':').skip(2);
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// A way to a daemon on which some answers get lost, after the daemon did what was asked.
pub struct Wire {
    /// Where it begins.
    pub url: String,
    lost: Arc<AtomicUsize>,
}

impl Wire {
    /// Loses about one of `one_of` answers to requests that change something: the whole of it, or its rest.
    pub async fn to(url: &str, one_of: usize, mut random: Random) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (to, lost) = (url.trim_start_matches("http://").to_owned(), Arc::new(AtomicUsize::new(0)));
        let counts = lost.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(&to).await else { continue };
                tokio::spawn(carry(near, far, one_of, Random(random.next()), counts.clone()));
            }
        });
        Self { url: format!("http://{address}"), lost }
    }

    /// Answers that were lost so far.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Carries bytes both ways until somebody ends, or an answer is lost: then both ends are cut.
async fn carry(
    mut near: TcpStream,
    mut far: TcpStream,
    one_of: usize,
    mut random: Random,
    lost: Arc<AtomicUsize>,
) {
    let (mut asked, mut said) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut changes = false;
    loop {
        tokio::select! {
            read = near.read(&mut asked) => {
                let Ok(count @ 1..) = read else { return };
                changes = changes || asked[..count].starts_with(b"POST");
                if far.write_all(&asked[..count]).await.is_err() {
                    return;
                }
            }
            read = far.read(&mut said) => {
                let Ok(count @ 1..) = read else { return };
                if std::mem::take(&mut changes) && random.below(one_of) == 0 {
                    lost.fetch_add(1, Ordering::Relaxed);
                    if random.below(2) == 0 {
                        let _ = near.write_all(&said[..count / 2]).await;
                    }
                    return;
                }
                if near.write_all(&said[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// A disk that is really small: memory, mounted as a file system of its own.
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// One of so many MiB; nothing where nobody may mount, or where there is no SQLite store to fill it.
    pub fn of(size: usize) -> Option<Self> {
        if postgres_url().is_some() {
            println!("what is kept back for a full disk is kept beside a SQLite store");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}m,mode=700"), "tmpfs"]).arg(folder.path());
        if !mount.status().is_ok_and(|done| done.success()) {
            println!(
                "NOT RUN: a small disk can be mounted only as root; nothing here was tried on a full one"
            );
            return None;
        }
        Some(Self { folder })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What of it is free, in bytes.
    pub fn left(&self) -> u64 {
        let facts = Command::new("df").args(["-B1", "--output=avail"]).arg(self.path()).output().unwrap();
        let text = String::from_utf8(facts.stdout).unwrap();
        text.lines().last().unwrap().trim().parse().unwrap()
    }

    /// Somebody else writes it full, but for so many bytes.
    pub fn fill(&self, but: u64) {
        use std::io::{ErrorKind, Write};
        let mut options = std::fs::OpenOptions::new();
        let mut filler = options.create(true).append(true).open(self.path().join("filler")).unwrap();
        // nearly all of it without looking again
        for _ in 4..self.left().saturating_sub(but) >> 20 {
            match filler.write_all(&[1; 1 << 20]) {
                Ok(()) => {}
                Err(why) if why.kind() == ErrorKind::StorageFull => break,
                Err(why) => panic!("{why}"),
            }
        }
        loop {
            let count = self.left().saturating_sub(but).min(1 << 20);
            if but > 0 && count == 0 {
                return;
            }
            // with nothing to be left, until the disk says so
            match filler.write_all(&vec![1; usize::try_from(count.max(1)).unwrap()]) {
                Ok(()) => {}
                Err(why) if why.kind() == ErrorKind::StorageFull => return,
                Err(why) => panic!("{why}"),
            }
        }
    }

    /// And throws it away again.
    pub fn clear(&self) {
        std::fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // who has files open there keeps it until they are closed
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// A disk that breaks, for processes that are started with its environment: a library of C between them and
/// the system (disk.c), which answers in place of it.
pub struct Disk {
    folder: tempfile::TempDir,
    files: &'static str,
}

/// What a disk does.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Nothing grows any more.
    Full,
    /// Nothing grows any more, because somebody has had their share.
    Quota,
    /// A sync says that what was written before may be lost.
    Sync,
    /// Nothing is written any more.
    ReadOnly,
    /// The power goes at the sync of this number, counted from the start of the process.
    DiesAtSync(usize),
    /// The power goes at the write of this number.
    DiesAtWrite(usize),
}

impl Disk {
    /// One that breaks for files whose path has this in it, and is whole to begin with.
    pub fn of(files: &'static str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        // PostgreSQL is run by somebody else
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let this = Self { folder, files };
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/disk.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(this.path("disk.so")).args([source, "-ldl"]);
        assert!(compiler.status().unwrap().success());
        this.mend();
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// For the processes that have it.
    pub fn environment(&self) -> Environment {
        let path = |name: &str| self.path(name).display().to_string();
        [
            ("LD_PRELOAD", path("disk.so")),
            ("DISK_FAULT", path("fault")),
            ("DISK_FILES", self.files.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Breaks it.
    pub fn breaks(&self, fault: Fault) {
        let text = match fault {
            Fault::Full => "f".to_owned(),
            Fault::Quota => "q".to_owned(),
            Fault::Sync => "s".to_owned(),
            Fault::ReadOnly => "r".to_owned(),
            Fault::DiesAtSync(number) => format!("S{number}"),
            Fault::DiesAtWrite(number) => format!("W{number}"),
        };
        self.says(&text);
    }

    /// It is whole again.
    pub fn mend(&self) {
        self.says("");
    }

    /// All at once: who reads meanwhile finds the one or the other.
    fn says(&self, text: &str) {
        std::fs::write(self.path("next"), text).unwrap();
        std::fs::rename(self.path("next"), self.path("fault")).unwrap();
    }
}
