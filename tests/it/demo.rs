//! The demo's story, told to the end by the real program.

use crate::support::Program;

#[test]
fn the_demo_ends_well_and_names_what_was_damaged() {
    let ended = Program::new(&["demo"]).run().ok();
    for told in ["certified", "chunks/", "order_items", "before and after"] {
        assert!(ended.stdout.contains(told), "'{told}' is not in:\n{}", ended.stdout);
    }
}
