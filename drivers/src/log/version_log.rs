//! The stamped lines of one version, on this host.
//!
//! Segments that follow each other without a gap; a position is a byte of that sequence. The
//! keeper alone writes, so a segment ends exactly where the next begins and no line is lost
//! in between. Each segment begins with the identity of the log and with how far the output of
//! each running instance had been read, so the last segment alone tells where to go on.
//!
//! A write that was torn (a kill of the platform, a full disk) leaves half a line at the end,
//! which is cut off; the line is taken from the raw file again.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use tidegate_protocol::{InstanceRef, LogLine};

use super::record::{self, Record};
use crate::data_dir::draw_id;
use crate::options::LogLimits;

const SEGMENT_PREFIX: &str = "lines.";
/// Bytes that a line is counted with beside its text.
const LINE_OVERHEAD: usize = 32;
/// Lines that "the last lines" are at most.
const LAST_LINES_MAX: usize = 200;

#[derive(Debug)]
pub(crate) struct VersionLog {
    directory: PathBuf,
    identity: u64,
    /// Oldest first, never empty.
    segments: Vec<Segment>,
    /// Of the last segment.
    writer: File,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    start: u64,
    bytes: u64,
}

/// Lines, and where to read on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Page {
    pub lines: Vec<LogLine>,
    pub position: u64,
}

impl VersionLog {
    /// `None`: there is none.
    pub(crate) fn open(directory: &Path) -> io::Result<Option<VersionLog>> {
        let mut segments = find_segments(directory)?;
        while let Some(last) = segments.last_mut() {
            let path = segment_path(directory, last.start);
            let writer = File::options().read(true).append(true).open(&path)?;
            let mut head = Vec::new();
            BufReader::new(&writer).read_until(b'\n', &mut head)?;
            if let Some(identity) = record::parse_head(&head) {
                last.bytes = end_of_last_line(&writer)?;
                writer.set_len(last.bytes)?;
                return Ok(Some(VersionLog {
                    directory: directory.to_owned(),
                    identity,
                    segments,
                    writer,
                }));
            }
            fs::remove_file(&path)?;
            segments.pop();
        }
        Ok(None)
    }

    pub(crate) fn create(directory: &Path) -> io::Result<VersionLog> {
        fs::create_dir_all(directory)?;
        let identity = draw_id()?;
        let (segment, writer) = new_segment(directory, 0, &record::head(identity))?;
        Ok(VersionLog {
            directory: directory.to_owned(),
            identity,
            segments: vec![segment],
            writer,
        })
    }

    pub(crate) fn identity(&self) -> u64 {
        self.identity
    }

    pub(crate) fn end(&self) -> u64 {
        let last = self.segments[self.segments.len() - 1];
        last.start + last.bytes
    }

    /// Appends whole lines, or nothing. `marks` begin a new segment, if one is due.
    pub(crate) fn append(
        &mut self,
        lines: &[u8],
        limits: &LogLimits,
        marks: impl FnOnce() -> Vec<u8>,
    ) -> io::Result<()> {
        let last = self.segments[self.segments.len() - 1];
        if last.bytes + lines.len() as u64 > limits.segment_bytes {
            let mut head = record::head(self.identity);
            head.extend(marks());
            let (segment, writer) = new_segment(&self.directory, self.end(), &head)?;
            self.segments.push(segment);
            self.writer = writer;
            while self.segments.len() > limits.segments_max.max(1) {
                fs::remove_file(segment_path(&self.directory, self.segments[0].start))?;
                self.segments.remove(0);
            }
        }
        let last = self.segments.len() - 1;
        let last = &mut self.segments[last];
        if let Err(error) = self.writer.write_all(lines) {
            self.writer.set_len(last.bytes)?;
            return Err(error);
        }
        last.bytes += lines.len() as u64;
        Ok(())
    }

    /// How far the output of an instance is in the log, as far as the last segment tells.
    pub(crate) fn raw_end(&self, instance: InstanceRef) -> io::Result<u64> {
        let mut found = 0;
        let last = self.segments[self.segments.len() - 1];
        let mut reader = self.reader(last, 0)?;
        let mut stored = Vec::new();
        while reader.read_until(b'\n', &mut stored)? > 0 {
            match record::parse(&stored) {
                Some(Record::Line { line, raw_end }) if line.instance == Some(instance) => {
                    found = raw_end;
                }
                Some(Record::Mark {
                    instance: marked,
                    raw_end,
                }) if marked == instance => found = raw_end,
                _ => {}
            }
            stored.clear();
        }
        Ok(found)
    }

    /// Lines from a position on, at least one if there is one; what was dropped since is
    /// passed over. `None`: the position is not one that a page of this log ended at.
    pub(crate) fn page(&self, position: u64, bytes_max: usize) -> io::Result<Option<Page>> {
        if position > self.end() || !self.is_boundary(position)? {
            return Ok(None);
        }
        let (mut lines, mut bytes) = (Vec::new(), 0);
        let position = self.scan(position, self.end(), |line| {
            let cost = line.text.len() + LINE_OVERHEAD;
            let fits = lines.is_empty() || bytes + cost <= bytes_max;
            if fits {
                bytes += cost;
                lines.push(line);
            }
            fits
        })?;
        Ok(Some(Page { lines, position }))
    }

    /// The last lines that fit.
    pub(crate) fn last_page(&self, bytes_max: usize, limits: &LogLimits) -> io::Result<Page> {
        // A stored line costs more than it counts, but one whole line has to be in here.
        let window = (bytes_max + 2 * limits.line_bytes_max) as u64;
        let start = self.next_boundary(self.end().saturating_sub(window))?;
        let mut lines = std::collections::VecDeque::new();
        let mut bytes = 0;
        let position = self.scan(start, self.end(), |line| {
            bytes += line.text.len() + LINE_OVERHEAD;
            lines.push_back(line);
            while lines.len() > LAST_LINES_MAX || (bytes > bytes_max && lines.len() > 1) {
                if let Some(dropped) = lines.pop_front() {
                    bytes -= dropped.text.len() + LINE_OVERHEAD;
                }
            }
            true
        })?;
        let lines = lines.into();
        Ok(Page { lines, position })
    }

    /// Gives lines to `take` until it wants no more; returns where to go on.
    fn scan(&self, from: u64, to: u64, mut take: impl FnMut(LogLine) -> bool) -> io::Result<u64> {
        let mut position = from;
        for segment in &self.segments {
            position = position.max(segment.start);
            if position >= segment.start + segment.bytes {
                continue;
            }
            let mut reader = self.reader(*segment, position - segment.start)?;
            let mut stored = Vec::new();
            while position < to && reader.read_until(b'\n', &mut stored)? > 0 {
                if let Some(Record::Line { line, .. }) = record::parse(&stored)
                    && !take(line)
                {
                    return Ok(position);
                }
                position += stored.len() as u64;
                stored.clear();
            }
        }
        Ok(position)
    }

    fn is_boundary(&self, position: u64) -> io::Result<bool> {
        Ok(self.next_boundary(position)? == position || self.segment_of(position).is_none())
    }

    /// The first position from `position` on at which a stored line begins.
    fn next_boundary(&self, position: u64) -> io::Result<u64> {
        let Some(segment) = self.segment_of(position) else {
            return Ok(position);
        };
        if position == segment.start {
            return Ok(position);
        }
        let mut reader = self.reader(segment, position - 1 - segment.start)?;
        let mut rest = Vec::new();
        let read = reader.read_until(b'\n', &mut rest)?;
        Ok(position - 1 + read as u64)
    }

    fn segment_of(&self, position: u64) -> Option<Segment> {
        let holds =
            |segment: &&Segment| (segment.start..segment.start + segment.bytes).contains(&position);
        self.segments.iter().find(holds).copied()
    }

    fn reader(&self, segment: Segment, offset: u64) -> io::Result<impl io::BufRead> {
        let mut file = File::open(segment_path(&self.directory, segment.start))?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(BufReader::new(file.take(segment.bytes - offset)))
    }
}

fn segment_path(directory: &Path, start: u64) -> PathBuf {
    directory.join(format!("{SEGMENT_PREFIX}{start:016x}"))
}

fn find_segments(directory: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(segments),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let start = entry
            .file_name()
            .to_str()
            .and_then(|name| u64::from_str_radix(name.strip_prefix(SEGMENT_PREFIX)?, 16).ok());
        if let Some(start) = start {
            let bytes = entry.metadata()?.len();
            segments.push(Segment { start, bytes });
        }
    }
    segments.sort_by_key(|segment| segment.start);
    Ok(segments)
}

fn new_segment(directory: &Path, start: u64, head: &[u8]) -> io::Result<(Segment, File)> {
    let path = segment_path(directory, start);
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .append(true)
        .open(&path)?;
    // One that was begun and not finished, for want of space.
    file.set_len(0)?;
    if let Err(error) = file.write_all(head) {
        fs::remove_file(&path)?;
        return Err(error);
    }
    let bytes = head.len() as u64;
    Ok((Segment { start, bytes }, file))
}

fn end_of_last_line(file: &File) -> io::Result<u64> {
    const STEP: u64 = 4096;
    let mut end = file.metadata()?.len();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or_default()];
        file.read_exact_at(&mut bytes, start)?;
        if let Some(newline) = bytes.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + newline as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTANCE: InstanceRef = InstanceRef {
        version: 3,
        slot: 0,
        epoch: 7,
    };

    fn limits(segment_bytes: u64, segments_max: usize) -> LogLimits {
        LogLimits {
            segment_bytes,
            segments_max,
            ..LogLimits::default()
        }
    }

    fn write(log: &mut VersionLog, limits: &LogLimits, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let mut line = Vec::new();
            record::put_line(
                &mut line,
                number,
                INSTANCE,
                number,
                &format!("line {number}"),
            );
            let marks = || {
                let mut marks = Vec::new();
                record::put_mark(&mut marks, INSTANCE, number.saturating_sub(1));
                marks
            };
            log.append(&line, limits, marks).expect("space");
        }
    }

    fn read_on(log: &VersionLog, position: &mut u64, bytes_max: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        loop {
            let page = log
                .page(*position, bytes_max)
                .expect("files")
                .expect("a boundary");
            *position = page.position;
            if page.lines.is_empty() {
                return numbers;
            }
            numbers.extend(page.lines.iter().map(|line| line.wall_ms));
        }
    }

    #[test]
    fn pages_follow_each_other_through_segments_and_reopening() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let limits = limits(500, 100);
        assert!(VersionLog::open(root.path())?.is_none());
        let mut log = VersionLog::create(root.path())?;
        let mut position = 0;
        write(&mut log, &limits, 0..100);
        assert_eq!(read_on(&log, &mut position, 300), Vec::from_iter(0..100));
        let identity = log.identity();
        let mut log = VersionLog::open(root.path())?.expect("a log");
        assert_eq!(log.identity(), identity);
        assert_eq!(log.raw_end(INSTANCE)?, 99);
        write(&mut log, &limits, 100..150);
        assert_eq!(read_on(&log, &mut position, 1), Vec::from_iter(100..150));
        assert_eq!(read_on(&log, &mut position, 1), []);
        Ok(())
    }

    #[test]
    fn the_oldest_go_and_readers_pass_over_them() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let limits = limits(500, 2);
        let mut log = VersionLog::create(root.path())?;
        write(&mut log, &limits, 0..100);
        assert_eq!(fs::read_dir(root.path())?.count(), 2);
        let numbers = read_on(&log, &mut 0, 300);
        let first = numbers[0];
        assert!(first > 50, "{first}");
        assert_eq!(numbers, Vec::from_iter(first..100));
        Ok(())
    }

    #[test]
    fn the_last_page_is_the_end() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let limits = limits(100_000, 2);
        let mut log = VersionLog::create(root.path())?;
        assert_eq!(log.last_page(1000, &limits)?.lines, []);
        write(&mut log, &limits, 0..1000);
        let numbers = |bytes_max| -> io::Result<Vec<u64>> {
            let page = log.last_page(bytes_max, &limits)?;
            assert_eq!(page.position, log.end());
            Ok(page.lines.iter().map(|line| line.wall_ms).collect())
        };
        assert_eq!(numbers(100_000)?, Vec::from_iter(800..1000));
        assert_eq!(numbers(3 * (8 + LINE_OVERHEAD))?, [997, 998, 999]);
        assert_eq!(numbers(0)?, [999]);
        Ok(())
    }

    #[test]
    fn a_place_inside_a_line_or_beyond_the_end_is_none() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let mut log = VersionLog::create(root.path())?;
        write(&mut log, &LogLimits::default(), 0..3);
        let end = log.end();
        assert!(log.page(end, 10)?.is_some());
        assert!(log.page(end + 1, 10)?.is_none());
        let boundaries = (0..=end)
            .filter(|position| log.page(*position, 10).expect("files").is_some())
            .count();
        assert_eq!(boundaries, 5);
        Ok(())
    }

    #[test]
    fn torn_ends_and_torn_segments_are_cut_off() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let limits = LogLimits::default();
        let mut log = VersionLog::create(root.path())?;
        write(&mut log, &limits, 0..3);
        let end = log.end();
        log.writer.write_all(b"1700 v3.0")?;
        fs::write(segment_path(root.path(), end), b"tidegate-lo")?;
        let mut log = VersionLog::open(root.path())?.expect("a log");
        assert_eq!(log.end(), end);
        write(&mut log, &limits, 3..5);
        assert_eq!(read_on(&log, &mut 0, 1000), [0, 1, 2, 3, 4]);
        Ok(())
    }
}
