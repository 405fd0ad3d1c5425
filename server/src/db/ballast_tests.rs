//! The ballast on a disk that has room: what it is made of, and what it leaves alone.

use super::*;

/// A store in a folder of its own, and its room.
fn room(folder: &Path) -> (Room, PathBuf) {
    let store = folder.join("bursar.db");
    open::connect(&Location::Sqlite(store.clone()), Purpose::Write).unwrap();
    (Room::beside(&Location::Sqlite(store)), folder.join("bursar.ballast"))
}

#[test]
fn is_made_of_blocks_that_nobody_else_reads_and_given_up_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (room, ballast) = room(folder.path());
    assert_eq!((room.is_short(), room.bytes()), (false, 0));
    room.keep();
    let facts = std::fs::metadata(&ballast).unwrap();
    assert_eq!((room.bytes(), facts.len()), (BALLAST, BALLAST));
    assert!(has_blocks(&facts));
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&facts) & 0o777, 0o600);
    for label in [Label::from("a"), recorded("a"), urgent("a")] {
        assert!(room.admits(label));
    }
    room.give_up();
    assert_eq!((room.is_short(), room.bytes(), std::fs::metadata(&ballast).unwrap().len()), (true, 0, 0));
    assert_eq!([Label::from("a"), urgent("a")].map(|label| room.admits(label)), [false, true]);
    // and the next process knows
    assert!(self::room(folder.path()).0.is_short());
    room.keep();
    assert_eq!((room.is_short(), room.bytes()), (false, BALLAST));
    assert!(room.shortage().is_none());
}

#[test]
fn holes_are_filled_and_what_is_too_long_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let (_, ballast) = room(folder.path());
    for length in [BALLAST, BALLAST + MARGIN, BALLAST - 1] {
        // as a copy that leaves zeros out has it
        std::fs::File::create(&ballast).unwrap().set_len(length).unwrap();
        let room = room(folder.path()).0;
        room.keep();
        let facts = std::fs::metadata(&ballast).unwrap();
        assert_eq!((facts.len(), has_blocks(&facts), room.is_short()), (BALLAST, true, false), "{length}");
    }
}

#[cfg(unix)]
#[test]
fn what_is_not_ours_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (room, ballast) = room(folder.path());
    let theirs = folder.path().join("theirs");
    std::fs::write(&theirs, "words").unwrap();
    std::os::unix::fs::symlink(&theirs, &ballast).unwrap();
    room.keep();
    room.give_up();
    room.keep();
    assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "words");
    std::fs::remove_file(&ballast).unwrap();
    std::fs::create_dir(&ballast).unwrap();
    let room = self::room(folder.path()).0;
    room.keep();
    // it has no reserve, and everybody writes
    assert_eq!((room.is_short(), room.bytes(), ballast.is_dir()), (false, 0, true));
    // and when the disk was full and is not, they do so again
    room.give_up();
    assert!(room.is_short());
    room.keep();
    assert_eq!((room.is_short(), room.bytes(), ballast.is_dir()), (false, 0, true));
}

#[test]
fn a_file_system_that_cannot_allocate_is_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut file = open_private(&path).unwrap();
    fill(&mut file, 3 * PROBE as u64 + 1).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 3 * PROBE + 1);
    // no zeros, of which a file system that compresses would make nothing
    assert!(bytes.iter().filter(|byte| **byte == 0).count() < PROBE / 16);
}
