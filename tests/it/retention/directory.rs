//! The same on a directory: what a bucket's store does by itself, this program does on files.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::*;
use crate::support::world::mark_disposable;

/// A world whose repository is a directory, and that directory.
fn in_a_directory() -> (World, PathBuf) {
    let mut world = world();
    let settings = fs::read_to_string(&world.settings_file).unwrap();
    let (before, rest) = settings.split_once("repository:").unwrap();
    let (_, after) = rest.split_once("source:").unwrap();
    let directory = world.directory().join("volume");
    fs::create_dir(&directory).unwrap();
    let text = format!(
        "{before}repository: {{directory: {}}}\nsource:{after}",
        directory.display()
    );
    world.settings_file = world.directory().join("directory.yaml");
    fs::write(&world.settings_file, text).unwrap();
    (world, directory)
}

/// Files below `directory`; the store's own places left out.
fn files(directory: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true if path.file_name().unwrap().to_string_lossy().starts_with('.') => {}
                true => open.push(path),
                false => found.push(path),
            }
        }
    }
    found
}

#[test]
fn what_is_expired_in_a_directory_is_pruned_and_the_rest_stays_whole() {
    let (world, directory) = in_a_directory();
    let first = world.back_up_state(1);
    world.back_up_state(2);
    let repository: Value = serde_json::from_slice(&fs::read(directory.join("repository.json")).unwrap()).unwrap();
    mark_disposable(&world.target, &world.restored(), &text(&repository["repository_id"]));
    world.program(&["drill"]).run().ok();
    let chunks = || files(&directory.join("chunks")).len();
    let before = chunks();

    let expired = world.expire();
    assert_eq!(expired["expired"], serde_json::json!([first]));
    assert_eq!(world.prune()["deleted"]["objects"], 0, "within the grace period");
    age(files(&directory), 3 * DAY);
    let pruned = world.prune();
    let deleted = pruned["deleted"]["objects"].as_u64().unwrap();
    assert!(deleted > 0, "{pruned}");
    assert_eq!(before - chunks(), usize::try_from(deleted).unwrap());
    assert_eq!(pruned["referenced"]["objects"], chunks());
    assert_eq!(pruned["leftovers"]["tombstones"], 1);
    world.all_is_sound();
}

/// A file that whoever opens it waits for, as on a network mount whose server is away: somebody holds a lease on it and does not
/// give it back. The kernel takes that away after 45 seconds.
struct Leased(Child);

impl Leased {
    fn new(path: &Path) -> Self {
        const PROGRAM: &str = "
import fcntl, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = open(sys.argv[1], 'rb')
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('held', flush=True)
sys.stdin.read()
";
        let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/venv/bin/python");
        let mut holder = Command::new(python);
        holder
            .args(["-c", PROGRAM])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut holder = holder.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap())
            .read_line(&mut said)
            .unwrap();
        assert_eq!(said, "held\n");
        Self(holder)
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_volume_that_does_not_answer_ends_a_verb_that_says_so_although_its_thread_still_waits() {
    let (world, directory) = in_a_directory();
    world.back_up_state(1);
    let leased = Leased::new(&directory.join("repository.json"));
    let begun = Instant::now();
    let list = || {
        world
            .program(&["list"])
            .env("KUBEBACKUP_REPOSITORY_ATTEMPT_TIMEOUT", "1s")
    };
    let told = list().run().expect(1).stderr;
    let seconds = begun.elapsed().as_secs();
    assert!(seconds < 20, "{seconds} s");
    let volume = format!("the volume of '{}' does not answer, within 1.0 s", directory.display());
    assert!(told.contains("repository.json") && told.contains(&volume), "{told}");
    drop(leased);
    list().run().ok();
}
