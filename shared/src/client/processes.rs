//! One rotating refresh token, many processes, some of them killed in the middle.

use std::{
    collections::HashMap,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use super::{
    fake::{Fake, fine, refused, tokens, user},
    session::{self, Store},
    *,
};
use crate::{error::ErrorCode, operations::auth::Me};

/// How many run at once.
const PROCESSES: usize = 16;
/// How many calls each makes.
const CALLS: usize = 40;
/// How long an access token lives, in milliseconds.
const LIFE: u64 = 60;

/// The daemon's side of a session, as strict as it is: what is neither the current refresh token nor a
/// repetition of the last refresh ends the session.
#[derive(Default)]
struct Session {
    generation: u64,
    last_key: String,
    successor_used: bool,
    revoked: u32,
    refreshes: u32,
    replays: u32,
    killed: u32,
}

#[derive(Default)]
struct World {
    session: Session,
    children: HashMap<u32, Child>,
}

fn refresh(world: &Mutex<World>, asked: &fake::Asked) -> fake::Said {
    let mut world = world.lock().unwrap();
    let pid: u32 = asked.header("user-agent").trim_start_matches("child/").parse().unwrap_or(0);
    let given: u64 = asked.member("refreshToken").trim_start_matches('r').parse().unwrap_or(0);
    let key = asked.header("idempotency-key").to_owned();
    let session = &mut world.session;
    if given == session.generation {
        session.generation += 1;
        session.last_key = key;
        session.successor_used = false;
        session.refreshes += 1;
    } else if given + 1 == session.generation && key == session.last_key && !session.successor_used {
        session.replays += 1;
    } else {
        session.revoked += 1;
        return refused(401, "REFRESH_REUSED", &[]);
    }
    let generation = session.generation;
    // every fifth refresh is the last thing its process does: rotated here, never written there
    if (session.refreshes + session.replays).is_multiple_of(5)
        && let Some(mut child) = world.children.remove(&pid)
    {
        child.kill().unwrap();
        child.wait().unwrap();
        world.session.killed += 1;
        return None;
    }
    fine(tokens(&format!("a{generation}-{}", session::local_now().micros()), &format!("r{generation}"), LIFE))
}

fn spawn(server: &str, path: &std::path::Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "client::processes::one_of_many", "--ignored", "--nocapture"])
        .env("BURSAR_TEST_SERVER", server)
        .env("BURSAR_TEST_CREDENTIALS", path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[expect(clippy::disallowed_methods, reason = "how the test below speaks to its children")]
fn told(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

#[tokio::test]
#[ignore = "run by the test below, in processes of its own"]
async fn one_of_many() {
    let options = Options { user_agent: format!("child/{}", std::process::id()), ..Options::default() };
    let store = Store::file(PathBuf::from(told("BURSAR_TEST_CREDENTIALS")));
    let client = Client::new(&told("BURSAR_TEST_SERVER"), options).unwrap().with_session(store);
    let mut answered = 0;
    while answered < CALLS {
        match client.call(&Me {}).await {
            Ok(_) => answered += 1,
            // on a busy machine so short a life may be over before the call arrives
            Err(Error::Api { error, .. }) if error.code == ErrorCode::TokenExpired => {}
            Err(wrong) => panic!("{wrong}"),
        }
    }
}

#[test]
fn killed_processes_never_cost_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials/dev.json");
    let world = Arc::new(Mutex::new(World::default()));
    let daemon = world.clone();
    let fake = Fake::start(move |asked| match asked.target.as_str() {
        "/v1/auth/login" => fine(tokens("a0-0", "r0", LIFE)),
        "/v1/auth/refresh" => refresh(&daemon, asked),
        _ => {
            let token = asked.header("authorization").trim_start_matches("Bearer a").to_owned();
            let (generation, at) = token.split_once('-').unwrap_or_default();
            let mut world = daemon.lock().unwrap();
            if generation.parse() == Ok(world.session.generation) {
                world.session.successor_used = true;
            }
            let born: i64 = at.parse().unwrap_or(0);
            if session::local_now().micros() - born > LIFE as i64 * 1_000 {
                return refused(401, "TOKEN_EXPIRED", &[]);
            }
            fine(user())
        }
    });
    let client =
        Client::new(&fake.server, Options::default()).unwrap().with_session(Store::file(path.clone()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(client.sign_in("ada@example.com".parse().unwrap(), "x".parse().unwrap())).unwrap();

    let mut finished = 0;
    let mut started = 0;
    while finished < PROCESSES {
        let mut world = world.lock().unwrap();
        // the killed ones are replaced, so that there are always sixteen at it
        while started - world.session.killed as usize - finished < PROCESSES
            && world.children.len() < PROCESSES
        {
            let child = spawn(&fake.server, &path);
            world.children.insert(child.id(), child);
            started += 1;
        }
        let mut done = Vec::new();
        for (pid, child) in &mut world.children {
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "a process failed, see its message above");
                done.push(*pid);
            }
        }
        finished += done.len();
        for pid in done {
            world.children.remove(&pid);
        }
        drop(world);
        std::thread::yield_now();
    }
    let mut world = world.lock().unwrap();
    for (_, mut child) in world.children.drain() {
        // what was started beyond the sixteen is of no use any more
        let _ = child.kill();
        let _ = child.wait();
    }
    let session = &world.session;
    assert_eq!(session.revoked, 0, "{} refreshes, {} killed", session.refreshes, session.killed);
    assert!(session.killed >= 1, "{} refreshes, {} killed", session.refreshes, session.killed);
    assert!(session.replays >= 1, "{} refreshes, {} killed", session.refreshes, session.killed);
}

#[test]
fn credentials_are_private_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/credentials/dev.json");
    session::write_private(&path, b"{}").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let loose = Store::file(&path).credentials().unwrap_err();
        assert!(loose.to_string().contains("chmod 600"), "{loose}");
        assert_eq!(loose.exit(), 2);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert!(Store::file(&path).credentials().unwrap_err().to_string().contains("damaged"));
    // nothing of the writing is left beside it
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[tokio::test]
async fn credentials_of_another_daemon_stay_at_home() {
    let fake = Fake::start(|asked| match asked.target.as_str() {
        "/v1/auth/login" => fine(tokens("a1", "r1", 60_000)),
        _ => fine(user()),
    });
    let other = Fake::start(|_| fine(user()));
    let store = Store::memory();
    let client = Client::new(&fake.server, Options::default()).unwrap().with_session(store.clone());
    client.sign_in("ada@example.com".parse().unwrap(), "x".parse().unwrap()).await.unwrap();
    let stranger = Client::new(&other.server, Options::default()).unwrap().with_session(store);
    assert!(matches!(stranger.call(&Me {}).await, Err(Error::NotSignedIn)));
    assert!(other.asked().is_empty());
}
