//! How the story reaches the reader: chapters, what is typed, what the program answers.

use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Writes the story, with the time since it began beside every chapter.
pub(super) struct Teller<'a> {
    out: &'a mut (dyn Write + Send),
    began: Instant,
    chapter: u32,
}

impl<'a> Teller<'a> {
    pub(super) fn new(out: &'a mut (dyn Write + Send)) -> Self {
        Self {
            out,
            began: Instant::now(),
            chapter: 0,
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn chapter(&mut self, title: &str) -> io::Result<()> {
        self.chapter += 1;
        let seconds = self.elapsed().as_secs();
        writeln!(self.out, "\n{}. {title}   [{seconds} s]\n", self.chapter)?;
        self.out.flush()
    }

    /// A line or more of the story.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        for line in text.lines() {
            writeln!(self.out, "   {line}")?;
        }
        self.out.flush()
    }

    /// What a user would type.
    pub(super) fn typed(&mut self, command: &str) -> io::Result<()> {
        writeln!(self.out, "   $ {command}")?;
        self.out.flush()
    }

    /// What was answered.
    pub(super) fn answered(&mut self, output: &str) -> io::Result<()> {
        for line in output.trim_end().lines() {
            writeln!(self.out, "   | {line}")?;
        }
        writeln!(self.out)?;
        self.out.flush()
    }
}
