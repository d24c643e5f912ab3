//! The help texts as they are printed, and that clap finds the definitions sound.

use clap::CommandFactory as _;

use super::*;

#[test]
fn the_definitions_are_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn every_verb_has_its_help() {
    let help = |arguments: &[&str]| {
        let command = Arguments::command().term_width(100);
        command.try_get_matches_from(arguments).unwrap_err().to_string()
    };
    let mut text = help(&["kubebackup", "-h"]);
    let command = Arguments::command();
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = verb.get_name();
        text = format!("{text}\n=== {name}\n{}", help(&["kubebackup", name, "-h"]));
    }
    insta::assert_snapshot!("help", text);
}
