//! A file of metrics with this test in Firecracker's place, which writes where it was.

use super::*;
use std::io::Write;

fn line(written: u64) -> String {
    format!("{{\"utc_timestamp_ms\":1,\"block_root\":{{\"write_bytes\":{written}}}}}\n")
}

fn written(folder: &Path) -> u64 {
    let counted = read(folder).unwrap().unwrap();
    counted.tally.drives().iter().map(|drive| drive.written_bytes).sum()
}

/// As Firecracker opens it.
fn begun() -> (tempfile::TempDir, File) {
    let folder = tempfile::tempdir().unwrap();
    begin(folder.path()).unwrap();
    let file = File::options().read(true).write(true).open(folder.path().join(METRICS)).unwrap();
    (folder, file)
}

#[test]
fn every_line_counts_once_however_often_it_is_read() {
    let (folder, mut file) = begun();
    assert_eq!(written(folder.path()), 0);
    file.write_all(line(5).as_bytes()).unwrap();
    file.write_all(&line(7).as_bytes()[..9]).unwrap();
    for _ in 0..3 {
        assert_eq!(written(folder.path()), 5, "half a line is none yet");
    }
    file.write_all(&line(7).as_bytes()[9..]).unwrap();
    assert_eq!(written(folder.path()), 12);
}

#[test]
fn what_was_read_is_given_back_and_no_sum_is_lost() {
    let (folder, mut file) = begun();
    let since = read(folder.path()).unwrap().unwrap().since_ms;
    let (mut sum, mut blocks) = (0, 0);
    for n in 0..30_000 {
        file.write_all(line(n).as_bytes()).unwrap();
        sum += n;
        if n % 1000 == 0 {
            assert_eq!(written(folder.path()), sum);
            blocks = blocks.max(file.metadata().unwrap().blocks());
        }
    }
    let len = file.metadata().unwrap().len();
    assert!(len > 1 << 20 && blocks * 512 < 512 << 10, "{blocks} blocks of {len} bytes");
    assert_eq!(written(folder.path()), sum);
    assert_eq!(read(folder.path()).unwrap().unwrap().since_ms, since, "since the beginning");
}

#[test]
fn a_file_that_nobody_looks_at_is_kept_short() {
    let (folder, mut file) = begun();
    let many = line(1).repeat(40_000);
    file.write_all(many.as_bytes()).unwrap();
    let before = file.metadata().unwrap().blocks();
    keep_short(folder.path());
    let after = file.metadata().unwrap().blocks();
    assert!(before > MOST_BLOCKS && after < 64, "{before} blocks, {after} after");
    assert_eq!(written(folder.path()), 40_000);
}

#[test]
fn a_process_that_is_not_itself_any_more_costs_little_and_begins_anew() {
    let (folder, mut file) = begun();
    file.write_all(line(5).as_bytes()).unwrap();
    assert_eq!(written(folder.path()), 5);
    // Longer than any line, without an end, and then one.
    file.write_all(&vec![b'x'; 5 * CHUNK]).unwrap();
    file.write_all(b"\n").unwrap();
    file.write_all(line(6).as_bytes()).unwrap();
    assert_eq!(written(folder.path()), 11);
    // A file of eight exbibytes minus a few, of which nothing is there.
    file.set_len(1 << 42).unwrap();
    assert_eq!(written(folder.path()), 0);
    file.set_len(0).unwrap();
    assert_eq!(written(folder.path()), 0);
    file.write_all_at(line(8).as_bytes(), 0).unwrap();
    assert_eq!(written(folder.path()), 8, "and goes on");
}

#[test]
fn a_process_of_an_earlier_hearth_counts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(read(folder.path()).unwrap(), None);
}
