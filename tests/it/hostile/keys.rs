//! Keys that lead elsewhere, in the manifest of a repository that lies in a directory: nothing outside it is read or
//! written, and nothing beside what is meant.

use std::fs;
use std::path::Path;

use kubebackup::repository::document;
use serde_json::Value;

use crate::support::World;

const KEYS: [&str; 5] = [
    "../../outside/secret",
    "/OUTSIDE/secret",
    "chunks/../../../outside/secret",
    "",
    "chunks/\0",
];

/// A world whose repository is a directory beside one that is none of its business, with a backup.
fn in_a_directory() -> (World, String) {
    let world = World::start();
    world.source_sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n");
    let (volume, outside) = (world.directory().join("volume"), world.directory().join("outside"));
    fs::create_dir_all(volume.join("it")).unwrap();
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("secret"), "a secret").unwrap();
    let settings = fs::read_to_string(&world.settings_file).unwrap();
    let (begin, end) = (settings.find("repository:").unwrap(), settings.find("source:").unwrap());
    let repository = format!("repository:\n  directory: {}\n  prefix: it\n", volume.display());
    let settings = format!("{}{repository}{}", &settings[..begin], &settings[end..]);
    fs::write(&world.settings_file, settings).unwrap();
    let backup_id = world.back_up();
    (world, backup_id)
}

/// What lies below a directory, with contents; links are not followed.
fn tree(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(tree(&path));
        } else {
            found.push((path.display().to_string(), fs::read(&path).unwrap_or_default()));
        }
    }
    found.sort();
    found
}

#[test]
fn a_forged_root_in_a_directory_leads_nowhere_else() {
    let (world, backup_id) = in_a_directory();
    let outside = world.directory().join("outside");
    let before = tree(&outside);
    let root = world.directory().join(format!("volume/it/manifests/{backup_id}.json"));
    let sound: Value = serde_json::from_slice(&fs::read(&root).unwrap()).unwrap();
    for key in KEYS {
        let mut forged = sound.clone();
        forged.as_object_mut().unwrap().remove("sha256");
        forged["index"][0]["key"] = key.replace("/OUTSIDE", &outside.display().to_string()).into();
        fs::write(&root, document::encode(&forged).unwrap()).unwrap();
        for arguments in [
            &["verify"][..],
            &["drill"],
            &["diff", &backup_id, &backup_id],
            &["backup"],
        ] {
            let ended = world.program(arguments).run();
            assert!(!ended.printed().contains("panicked"), "{key:?}: {}", ended.printed());
            assert!(!ended.printed().contains("a secret"), "{key:?}: {}", ended.printed());
            match arguments {
                ["verify"] => assert_eq!(ended.code(), Some(5), "{key:?}: {}", ended.printed()),
                ["backup"] => assert_eq!(ended.code(), Some(0), "{key:?}: {}", ended.printed()),
                _ => assert_ne!(ended.code(), Some(0), "{key:?}: {}", ended.printed()),
            }
        }
        // The new backup stands by itself; the next key finds the forged one alone again.
        for entry in fs::read_dir(root.parent().unwrap()).unwrap() {
            let path = entry.unwrap().path();
            if path != root {
                fs::remove_file(path).unwrap();
            }
        }
    }
    assert_eq!(tree(&outside), before);
    assert_eq!(
        fs::read_dir(world.directory().join("volume")).unwrap().count(),
        1,
        "nothing beside the prefix"
    );
}

#[test]
fn a_link_that_somebody_has_put_into_the_directory_is_not_followed() {
    let (world, backup_id) = in_a_directory();
    let (repository, outside) = (world.directory().join("volume/it"), world.directory().join("outside"));
    // The chunks are all there, elsewhere: to be read, and worse, to be written and pruned.
    fs::rename(repository.join("chunks"), outside.join("chunks")).unwrap();
    std::os::unix::fs::symlink(outside.join("chunks"), repository.join("chunks")).unwrap();
    let before = tree(&outside);
    let verified = world.program(&["verify", "--backup", &backup_id]).run();
    assert_ne!(verified.code(), Some(0), "{}", verified.printed());
    world.source_sql("INSERT INTO t SELECT generate_series(1001, 2000)");
    let backed_up = world.program(&["backup"]).run().expect(1);
    assert!(backed_up.stderr.contains("symbolic link"), "{}", backed_up.stderr);
    let pruned = world.program(&["prune"]).run();
    assert!(!pruned.printed().contains("panicked"), "{}", pruned.printed());
    assert_eq!(tree(&outside), before);
}
