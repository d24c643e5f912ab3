//! The program: outcome to exit code.

fn main() {}
