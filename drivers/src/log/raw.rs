//! The file that an instance writes its output to, seen from the reading end.
//!
//! The process appends and never stops appending, so the file cannot be rotated under it
//! without losing what it writes at that moment. Instead, what has been read is taken out of
//! the file as a hole: its size grows on, its space is given back, positions stay true, and no
//! byte can be lost. A file system without holes gets the usual copy-truncate, whose gap
//! between reading and truncating may swallow lines; that is the price there.
//!
//! The last 64 KiB stay for the report of the instance's end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use tidegate_protocol::InstanceRef;
use tidegate_protocol::limits::LOG_TAIL_BYTES_MAX;

use super::split::{Line, Splitter};
use crate::data_dir::remove_file_if_there;
use crate::options::LogLimits;

/// Bytes read at once.
const PIECE_BYTES: usize = 256 * 1024;
const KEPT_BYTES: u64 = 64 * 1024;
/// Holes are made of whole blocks; no common file system has larger ones.
const BLOCK_BYTES: u64 = 64 * 1024;

/// An output file that is being read.
#[derive(Debug)]
pub(crate) struct Raw {
    pub instance: InstanceRef,
    path: PathBuf,
    file: File,
    splitter: Splitter,
    /// Everything before is in the log of the version.
    recorded: u64,
    /// Everything before is a hole.
    freed: u64,
    has_holes: bool,
}

/// What one reading brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub lines: Vec<Line>,
    /// There was more to read.
    pub more: bool,
}

impl Raw {
    /// Makes the file anew; the second handle is for the process.
    pub(crate) fn create(
        path: PathBuf,
        instance: InstanceRef,
        limits: &LogLimits,
    ) -> io::Result<(Raw, File)> {
        remove_file_if_there(&path)?;
        let output = File::options().create_new(true).append(true).open(&path)?;
        Ok((Raw::open(path, instance, limits, 0)?, output))
    }

    /// Goes on reading at `recorded`.
    pub(crate) fn open(
        path: PathBuf,
        instance: InstanceRef,
        limits: &LogLimits,
        recorded: u64,
    ) -> io::Result<Raw> {
        let file = File::options().read(true).write(true).open(&path)?;
        Ok(Raw {
            instance,
            path,
            file,
            splitter: Splitter::new(limits.line_bytes_max, recorded),
            recorded,
            freed: 0,
            has_holes: true,
        })
    }

    pub(crate) fn recorded(&self) -> u64 {
        self.recorded
    }

    /// Reads one piece.
    pub(crate) fn take(&mut self, limits: &LogLimits) -> io::Result<Taken> {
        let size = self.file.metadata()?.len();
        let mut lines = Vec::new();
        if size < self.splitter.position() {
            // Someone truncated it.
            self.splitter.jump(0, false);
        }
        let waiting = size - self.splitter.position();
        if waiting > limits.raw_bytes_max {
            let skipped = waiting - KEPT_BYTES.min(waiting);
            let end = self.splitter.position() + skipped;
            self.splitter.flush(&mut lines);
            self.splitter.jump(end, true);
            let text = format!(
                "[… {skipped} bytes of output were dropped here: they came faster than they \
                 could be kept]"
            );
            lines.push(Line { end, text });
        }
        let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(waiting).unwrap_or(PIECE_BYTES))];
        let read = self.file.read_at(&mut piece, self.splitter.position())?;
        self.splitter.push(&piece[..read], &mut lines);
        let more = self.splitter.position() < size;
        Ok(Taken { lines, more })
    }

    /// Lets go of a last line without an end.
    pub(crate) fn flush(&mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        self.splitter.flush(&mut lines);
        lines
    }

    /// Where [`Raw::recorded`] will be once what was taken is kept.
    pub(crate) fn settled(&self) -> u64 {
        self.splitter.settled()
    }

    /// What was taken is in the log.
    pub(crate) fn keep(&mut self) {
        self.recorded = self.splitter.settled();
    }

    /// What was taken could not be kept: it will be taken again.
    pub(crate) fn rewind(&mut self) {
        self.splitter.jump(self.recorded, false);
    }

    /// Gives space back. `true`: the file was truncated, and positions begin again at 0.
    pub(crate) fn free(&mut self, limits: &LogLimits) -> io::Result<bool> {
        let end = self.recorded.saturating_sub(KEPT_BYTES) / BLOCK_BYTES * BLOCK_BYTES;
        if self.has_holes && end >= self.freed + limits.raw_bytes_max / 8 {
            let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            match fallocate(&self.file, mode, self.freed, end - self.freed) {
                Ok(()) => self.freed = end,
                Err(error) => {
                    tracing::warn!(
                        path = %self.path.display(), %error,
                        "no holes in files here: logs are rotated by truncating, which can lose \
                         lines"
                    );
                    self.has_holes = false;
                }
            }
        }
        let all_read = self.recorded == self.file.metadata()?.len();
        if !self.has_holes && all_read && self.recorded >= limits.raw_bytes_max {
            self.file.set_len(0)?;
            self.recorded = 0;
            self.splitter.jump(0, false);
            return Ok(true);
        }
        Ok(false)
    }

    /// The last of the output, and the end of the file.
    pub(crate) fn finish(self) -> io::Result<String> {
        let tail = tail(&self.file)?;
        remove_file_if_there(&self.path)?;
        Ok(tail)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// At most [`LOG_TAIL_BYTES_MAX`] bytes of text, from the beginning of a line if there is one.
fn tail(file: &File) -> io::Result<String> {
    let size = file.metadata()?.len();
    let start = size.saturating_sub(LOG_TAIL_BYTES_MAX as u64);
    let mut bytes = vec![0; usize::try_from(size - start).unwrap_or_default()];
    let read = file.read_at(&mut bytes, start)?;
    let bytes = &bytes[..read];
    let newline = bytes.iter().position(|byte| *byte == b'\n');
    let bytes = match newline {
        Some(newline) if start > 0 && newline + 1 < bytes.len() => &bytes[newline + 1..],
        _ => bytes,
    };
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end();
    Ok(text[text.ceil_char_boundary(text.len().saturating_sub(LOG_TAIL_BYTES_MAX))..].to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    const INSTANCE: InstanceRef = InstanceRef {
        version: 3,
        slot: 0,
        epoch: 7,
    };

    fn raw(root: &tempfile::TempDir, limits: &LogLimits) -> io::Result<(Raw, File)> {
        Raw::create(root.path().join("raw"), INSTANCE, limits)
    }

    fn limits(raw_bytes_max: u64) -> LogLimits {
        LogLimits {
            raw_bytes_max,
            ..LogLimits::default()
        }
    }

    fn read_all(raw: &mut Raw, limits: &LogLimits) -> io::Result<Vec<String>> {
        let mut texts = Vec::new();
        loop {
            let taken = raw.take(limits)?;
            raw.keep();
            texts.extend(taken.lines.into_iter().map(|line| line.text));
            if !taken.more {
                return Ok(texts);
            }
        }
    }

    #[test]
    fn space_is_given_back_and_nothing_is_lost() -> io::Result<()> {
        for has_holes in [true, false] {
            let root = tempfile::tempdir()?;
            let limits = limits(1024 * 1024);
            let (mut raw, mut output) = raw(&root, &limits)?;
            raw.has_holes = has_holes;
            let (mut written, mut got) = (0, Vec::new());
            for _ in 0..40 {
                let batch: String = (written..written + 2000)
                    .map(|number| format!("line {number:060}\n"))
                    .collect();
                output.write_all(batch.as_bytes())?;
                written += 2000;
                got.extend(read_all(&mut raw, &limits)?);
                raw.free(&limits)?;
                let held = raw.file.metadata()?.blocks() * 512;
                assert!(held < 2 * limits.raw_bytes_max, "{held} bytes held");
            }
            assert_eq!(got.len(), written);
            let expected = |(at, text): (usize, &String)| *text == format!("line {at:060}");
            assert!(got.iter().enumerate().all(expected));
        }
        Ok(())
    }

    #[test]
    fn a_flood_is_skipped_and_said() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let limits = limits(128 * 1024);
        let (mut raw, mut output) = raw(&root, &limits)?;
        for at in 0..10_000 {
            writeln!(output, "line {at:060}")?;
        }
        let got = read_all(&mut raw, &limits)?;
        assert!(
            got[0].contains("bytes of output were dropped"),
            "{}",
            got[0]
        );
        assert!(got[1..].iter().all(|text| text.starts_with("line 0")));
        assert_eq!(got.last(), Some(&format!("line {:060}", 9999)));
        Ok(())
    }

    #[test]
    fn a_line_that_never_ends_holds_no_space() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let limits = limits(1024 * 1024);
        let (mut raw, mut output) = raw(&root, &limits)?;
        for _ in 0..20 {
            output.write_all(&[b'x'; 512 * 1024])?;
            read_all(&mut raw, &limits)?;
            raw.free(&limits)?;
        }
        assert!(raw.file.metadata()?.blocks() * 512 < 2 * limits.raw_bytes_max);
        Ok(())
    }

    #[test]
    fn the_tail_begins_with_a_line_and_is_bounded() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let (raw_, mut output) = raw(&root, &LogLimits::default())?;
        writeln!(output, "{}\nlast words\n", "x".repeat(5000))?;
        assert_eq!(raw_.finish()?, "last words");
        assert!(!root.path().join("raw").exists());
        let (raw_, mut output) = raw(&root, &LogLimits::default())?;
        output.write_all(&[0xff; 9000])?;
        let tail = raw_.finish()?;
        assert!(tail.len() <= LOG_TAIL_BYTES_MAX && !tail.is_empty());
        Ok(())
    }

    #[test]
    fn what_could_not_be_kept_is_taken_again() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let limits = LogLimits::default();
        let (mut raw, mut output) = raw(&root, &limits)?;
        writeln!(output, "a")?;
        raw.take(&limits)?;
        raw.keep();
        write!(output, "b\nhalf")?;
        raw.take(&limits)?;
        raw.rewind();
        let again = raw.take(&limits)?;
        assert_eq!(again.lines.len(), 1);
        assert_eq!(again.lines[0].text, "b");
        assert_eq!(raw.flush()[0].text, "half");
        Ok(())
    }
}
