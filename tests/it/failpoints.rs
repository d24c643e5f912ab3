//! The points where tests stop the process, and the clock that they set, are no part of a release.

use std::fs;
use std::path::Path;

/// What a release that had any would hold.
const VARIABLES: [&str; 2] = ["KUBEBACKUP_FAILPOINT", "KUBEBACKUP_CLOCK_FILE"];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn sources(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path.display().to_string());
        }
    }
}

/// A release refuses it as a setting that there is not.
#[test]
fn the_variables_are_named_with_the_demo_alone_and_no_release_is_built_with_them() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut named = [0; VARIABLES.len()];
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code: Vec<&str> = code.collect();
        for (variable, named) in VARIABLES.iter().zip(&mut named) {
            for (number, _) in code.iter().enumerate().filter(|(_, line)| line.contains(variable)) {
                assert_eq!(
                    code[number - 1].trim(),
                    "#[cfg(feature = \"demo\")]",
                    "{path}: {variable}"
                );
                *named += 1;
            }
        }
    }
    assert_eq!(named, [2, 2], "where each is read, and where it is no setting");
    // The demo is no default, and neither build of a release asks for it; both look at what came out.
    let features = read("Cargo.toml");
    assert!(!features.contains("default = ["), "{features}");
    for path in ["Dockerfile", "Makefile"] {
        let text = read(path);
        let builds: Vec<&str> = text.lines().filter(|line| line.contains("build --release")).collect();
        assert!(!builds.is_empty(), "{path}");
        assert!(
            builds
                .iter()
                .all(|line| !line.contains("features") && !line.contains("FEATURES")),
            "{path}: {builds:?}"
        );
        let [failpoint, clock] = VARIABLES;
        let look = format!("! grep -q -e {failpoint} -e {clock} target/release/kubebackup");
        assert!(text.contains(&look), "{path}");
    }
}
