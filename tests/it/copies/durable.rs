//! What a volume was told, call by call: nothing has a name before its bytes are on the disk, no manifest before the names of
//! what it needs are, and where a file system has no hard links a body is moved to its name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::*;
use crate::support::Program;

/// A copy to the volume, of whose calls `strace` writes those that it is told to into a file.
fn traced(world: &World, options: &[&str]) -> (Program, PathBuf) {
    let trace = world.directory().join("calls");
    let mut starter = vec![
        "strace",
        "-f",
        "--seccomp-bpf",
        "-y",
        "-s",
        "512",
        "-o",
        trace.to_str().unwrap(),
    ];
    starter.extend(options);
    (world.program(&["copy"]).within(&starter), trace)
}

/// The calls in the order of their ends: name, arguments with the answer.
fn calls(trace: &Path) -> Vec<(String, String)> {
    let mut begun: BTreeMap<String, String> = BTreeMap::new();
    let mut done = Vec::new();
    for line in fs::read_to_string(trace).unwrap().lines() {
        let (thread, line) = line.split_once(' ').unwrap();
        let line = line.trim_start();
        let whole = if let Some(beginning) = line.strip_suffix(" <unfinished ...>") {
            begun.insert(thread.to_owned(), beginning.to_owned());
            continue;
        } else if let Some(rest) = line.strip_prefix("<... ") {
            let (_, end) = rest.split_once(" resumed>").unwrap();
            begun.remove(thread).unwrap() + end
        } else {
            line.to_owned()
        };
        // What is no call is a signal, or the end of a thread.
        if let Some((name, rest)) = whole.split_once('(') {
            done.push((name.to_owned(), rest.to_owned()));
        }
    }
    done
}

/// The path of the file that an `fsync` of a descriptor is about: `7</volume/x>) = 0`.
fn of_descriptor(arguments: &str) -> PathBuf {
    let (_, rest) = arguments.split_once('<').unwrap();
    PathBuf::from(rest.split_once('>').unwrap().0)
}

/// The two paths of a `linkat` or `renameat2`: what stands between quotation marks.
fn between_quotes(arguments: &str) -> (PathBuf, PathBuf) {
    let mut quoted = arguments.split('"').skip(1).step_by(2).map(PathBuf::from);
    (quoted.next().unwrap(), quoted.next().unwrap())
}

#[test]
fn nothing_has_a_name_before_its_bytes_and_no_manifest_before_its_chunks_names_are_on_the_disk() {
    let world = with_volume();
    let backup_id = world.back_up();
    let (copy, trace) = traced(&world, &["-e", "trace=fsync,linkat"]);
    copy.run().ok();
    let mut synced = BTreeSet::new();
    // Directories that hold a name which a power cut may still take.
    let mut open = BTreeSet::new();
    let mut named = Vec::new();
    for (call, arguments) in calls(&trace) {
        match call.as_str() {
            "fsync" => {
                assert!(arguments.ends_with("= 0"), "{arguments}");
                let path = of_descriptor(&arguments);
                open.remove(&path);
                synced.insert(path);
            }
            "linkat" if arguments.ends_with("= 0") => {
                let (from, to) = between_quotes(&arguments);
                assert!(synced.contains(&from), "{} has a name before its bytes", to.display());
                if to.parent().unwrap().ends_with("manifests") {
                    assert!(open.is_empty(), "{} before the names in {open:?}", to.display());
                }
                open.insert(to.parent().unwrap().to_owned());
                named.push(to);
            }
            other => panic!("{other}({arguments}"),
        }
    }
    assert!(open.is_empty(), "{open:?}");
    let chunks = named.iter().filter(|path| path.to_string_lossy().contains("/chunks/"));
    assert!(chunks.count() > 5, "{named:?}");
    let manifest = volume(&world).join(format!("manifests/{backup_id}.json"));
    assert!(named.contains(&manifest), "{named:?}");
}

#[test]
fn a_volume_without_hard_links_is_written_and_read_all_the_same() {
    let world = with_volume();
    let first = world.back_up();
    let without_links = ["-e", "trace=linkat,renameat2", "-e", "inject=linkat:error=EPERM"];
    let (copy, trace) = traced(&world, &without_links);
    copy.run().ok();
    let done = calls(&trace);
    let of = |name: &str| done.iter().filter(|(call, _)| call == name).count();
    assert!(of("linkat") > 5 && of("renameat2") == of("linkat"), "{done:?}");
    assert!(files(&volume(&world)).contains(&format!("manifests/{first}.json")));
    // What is there already is met again.
    next_second();
    world.source_sql("UPDATE orders SET text = md5(text) WHERE id < 5000");
    let second = world.back_up();
    traced(&world, &without_links).0.run().ok();
    world.program(&["--repository", "volume", "verify", "--all"]).run().ok();
    let there = files(&volume(&world));
    assert!(there.contains(&format!("manifests/{second}.json")), "{there:?}");
    let left = fs::read_dir(volume(&world).join(".incoming")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "bodies without a name");
}

/// A bad sector, or what a file system with checksums says of bytes that have rotted.
#[test]
fn an_object_that_the_volumes_device_cannot_read_is_damaged_by_name_and_no_other() {
    let world = with_volume();
    world.back_up();
    world.program(&["copy"]).run().ok();
    let there = files(&volume(&world));
    let rotten = there.iter().find(|file| file.starts_with("chunks/")).unwrap();
    let path = volume(&world).join(rotten);
    let starter = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-o",
        "/dev/null",
        "-P",
        path.to_str().unwrap(),
        "-e",
        "trace=read",
        "-e",
        "inject=read:error=EIO",
    ];
    let verify = world
        .program(&["--repository", "volume", "verify", "--all"])
        .within(&starter);
    let printed = verify.run().expect(5).printed();
    assert!(
        printed.contains(rotten) && printed.contains("Input/output error"),
        "{printed}"
    );
    for sound in there
        .iter()
        .filter(|file| file.starts_with("chunks/") && *file != rotten)
    {
        assert!(!printed.contains(sound), "{sound}: {printed}");
    }
    assert!(
        files(&volume(&world)).iter().any(|file| file.starts_with("damage")),
        "it is recorded"
    );
    // It is known from here on, and brought anew once it is removed.
    std::fs::remove_file(&path).unwrap();
    world.program(&["copy"]).run().ok();
    world.program(&["--repository", "volume", "verify", "--all"]).run().ok();
}

#[test]
fn a_volume_with_neither_links_nor_renaming_without_replacing_is_refused_by_name() {
    let world = with_volume();
    world.back_up();
    let neither = [
        "-e",
        "trace=linkat,renameat2",
        "-e",
        "inject=linkat:error=EPERM",
        "-e",
        "inject=renameat2:error=EINVAL",
    ];
    let ended = traced(&world, &neither).0.run();
    let said = "neither hard links nor renaming without replacing";
    assert!(
        ended.code() != Some(0) && ended.printed().contains(said),
        "{}",
        ended.printed()
    );
    let there = files(&volume(&world));
    assert!(there.iter().all(|file| !file.starts_with("manifests/")), "{there:?}");
}
