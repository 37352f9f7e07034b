//! Reads the output of all instances, keeps it by version, and answers readers.
//!
//! One value that one thread has at a time, so files have one writer and need no locks. A
//! failure to keep lines is said once and tried again; it never reaches the instance.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidegate_kernel::DriverReport;
use tidegate_protocol::limits::ENVELOPE_BYTES_MAX;
use tidegate_protocol::{Bytes, InstanceRef};

use super::Request;
use super::cursor::Cursor;
use super::raw::Raw;
use super::record::{put_line, put_mark};
use super::version_log::{Page, VersionLog};
use crate::data_dir::DataDir;
use crate::names::{Key, key, parse_instance};
use crate::options::LogLimits;

/// Bytes of one answer: it has to fit a message, with what is around its lines.
const PAGE_BYTES_MAX: usize = ENVELOPE_BYTES_MAX / 2;
/// Pieces read of one instance before the others get their turn.
const PIECES_PER_TURN: usize = 4;

/// A reader's question.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub request: u64,
    pub version: u64,
    pub cursor: Bytes,
    pub bytes_max: u32,
}

pub(crate) struct Keeper {
    data: Arc<DataDir>,
    limits: LogLimits,
    raws: BTreeMap<Key, Raw>,
    /// Logs of the versions that have instances.
    logs: BTreeMap<u64, VersionLog>,
    collected: Instant,
    is_failing: bool,
}

impl Keeper {
    pub(crate) fn new(data: Arc<DataDir>, limits: LogLimits) -> Keeper {
        Keeper {
            data,
            limits,
            raws: BTreeMap::new(),
            logs: BTreeMap::new(),
            collected: Instant::now(),
            is_failing: false,
        }
    }

    pub(crate) fn follows_nothing(&self) -> bool {
        self.raws.is_empty()
    }

    /// Does what is asked. Whoever asked may have stopped waiting; that is no error.
    pub(super) fn serve(&mut self, request: Request) -> Option<DriverReport> {
        match request {
            Request::Begin(instance, answer) => {
                let _ = answer.send(self.begin(instance));
            }
            Request::Recover(adopted, answer) => {
                let _ = answer.send(self.recover(&adopted));
            }
            Request::Finish(instance, answer) => {
                let _ = answer.send(self.finish(instance));
            }
            Request::Read(query) => return Some(self.read(&query)),
        }
        None
    }

    /// Reads what was written, unless that was done just now. `true`: there is more.
    pub(crate) fn collect_if_due(&mut self, pause: Duration) -> bool {
        if self.collected.elapsed() < pause {
            return false;
        }
        let all: Vec<Key> = self.raws.keys().copied().collect();
        let mut more = false;
        for key in all {
            more |= self.collect(key);
        }
        if !more {
            self.collected = Instant::now();
        }
        more
    }

    fn begin(&mut self, instance: InstanceRef) -> io::Result<File> {
        self.ensure_log(instance.version)?;
        let path = self.raw_path(instance);
        let (raw, output) = Raw::create(path, instance, &self.limits)?;
        // Of an earlier life by the same name nothing counts any more.
        self.mark(instance, 0)?;
        self.raws.insert(key(instance), raw);
        self.prune();
        Ok(output)
    }

    fn recover(&mut self, adopted: &BTreeSet<Key>) -> io::Result<()> {
        for version_dir in fs::read_dir(self.data.logs())? {
            let version_dir = version_dir?;
            if !version_dir.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(version_dir.path())? {
                let name = file?.file_name();
                let Some(instance) = name
                    .to_str()
                    .and_then(|name| parse_instance(name.strip_suffix(".log")?))
                else {
                    continue;
                };
                self.ensure_log(instance.version)?;
                let log = &self.logs[&instance.version];
                let recorded = log.raw_end(instance)?;
                let raw = Raw::open(self.raw_path(instance), instance, &self.limits, recorded)?;
                self.raws.insert(key(instance), raw);
                if !adopted.contains(&key(instance)) {
                    self.finish(instance);
                }
            }
        }
        self.prune();
        Ok(())
    }

    fn finish(&mut self, instance: InstanceRef) -> String {
        while self.collect(key(instance)) {}
        let Some(mut raw) = self.raws.remove(&key(instance)) else {
            return String::new();
        };
        let rest = raw.flush();
        if !rest.is_empty() {
            let stored = stored(&raw, &rest);
            let kept = self.append(instance.version, &stored);
            self.note_failure(kept);
        }
        let is_last = |version| self.raws.keys().all(|(other, ..)| *other != version);
        if is_last(instance.version) {
            self.logs.remove(&instance.version);
        }
        let path = raw.path().to_owned();
        raw.finish().unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "the end of an output was not read");
            String::new()
        })
    }

    /// Reads some of one instance's output. `true`: there is more, and it can be kept.
    fn collect(&mut self, key: Key) -> bool {
        let Some(mut raw) = self.raws.remove(&key) else {
            return false;
        };
        let mut more = true;
        for _ in 0..PIECES_PER_TURN {
            if !more {
                break;
            }
            let kept = self.collect_piece(&mut raw);
            more = *kept.as_ref().unwrap_or(&false);
            if kept.is_err() {
                raw.rewind();
            }
            self.note_failure(kept.map(drop));
        }
        self.raws.insert(key, raw);
        more
    }

    fn collect_piece(&mut self, raw: &mut Raw) -> io::Result<bool> {
        let taken = raw.take(&self.limits)?;
        let mut stored = stored(raw, &taken.lines);
        if stored.is_empty() && raw.settled() != raw.recorded() {
            put_mark(&mut stored, raw.instance, raw.settled());
        }
        if !stored.is_empty() {
            let before = (raw.instance, raw.recorded());
            self.append_beside(raw.instance.version, &stored, Some(before))?;
            raw.keep();
        }
        if raw.free(&self.limits)? {
            self.mark(raw.instance, 0)?;
        }
        Ok(taken.more)
    }

    fn read(&mut self, query: &Query) -> DriverReport {
        // What was written before the question belongs into the answer.
        let of_version = |(key, _): (&Key, &Raw)| (key.0 == query.version).then_some(*key);
        let raws: Vec<Key> = self.raws.iter().filter_map(of_version).collect();
        for key in raws {
            self.collect(key);
        }
        let (lines, cursor) = match self.look_up(query) {
            Ok(Some((identity, page))) => {
                let (log, position) = (identity, page.position);
                (page.lines, Cursor { log, position }.encode())
            }
            Ok(None) => (Vec::new(), Cursor::BEFORE_ANYTHING.encode()),
            Err(error) => {
                tracing::warn!(version = query.version, %error, "a log could not be read");
                // The same place again, so that no line is missed.
                (Vec::new(), query.cursor.clone())
            }
        };
        DriverReport::Log {
            request: query.request,
            cursor,
            lines,
        }
    }

    fn look_up(&self, query: &Query) -> io::Result<Option<(u64, Page)>> {
        let bytes_max = usize::try_from(query.bytes_max).unwrap_or(PAGE_BYTES_MAX);
        let bytes_max = bytes_max.min(PAGE_BYTES_MAX);
        let opened;
        let log = match self.logs.get(&query.version) {
            Some(log) => log,
            None => match VersionLog::open(&self.version_dir(query.version))? {
                Some(log) => {
                    opened = log;
                    &opened
                }
                None => return Ok(None),
            },
        };
        let page = match Cursor::parse(&query.cursor) {
            Some(Cursor::BEFORE_ANYTHING) => log.page(0, bytes_max)?,
            Some(cursor) if cursor.log == log.identity() => log.page(cursor.position, bytes_max)?,
            _ => None,
        };
        let page = match page {
            Some(page) => page,
            None => log.last_page(bytes_max, &self.limits)?,
        };
        Ok(Some((log.identity(), page)))
    }

    fn ensure_log(&mut self, version: u64) -> io::Result<()> {
        if !self.logs.contains_key(&version) {
            let directory = self.version_dir(version);
            let log = match VersionLog::open(&directory)? {
                Some(log) => log,
                None => VersionLog::create(&directory)?,
            };
            self.logs.insert(version, log);
        }
        Ok(())
    }

    fn mark(&mut self, instance: InstanceRef, raw_end: u64) -> io::Result<()> {
        let mut stored = Vec::new();
        put_mark(&mut stored, instance, raw_end);
        self.append(instance.version, &stored)
    }

    fn append(&mut self, version: u64, stored: &[u8]) -> io::Result<()> {
        self.append_beside(version, stored, None)
    }

    /// `taken_out`: an instance that is not in `raws` just now, and how far it is recorded.
    fn append_beside(
        &mut self,
        version: u64,
        stored: &[u8],
        taken_out: Option<(InstanceRef, u64)>,
    ) -> io::Result<()> {
        self.ensure_log(version)?;
        let others = self.raws.values().map(|raw| (raw.instance, raw.recorded()));
        let marks = || {
            let mut marks = Vec::new();
            for (instance, raw_end) in others.chain(taken_out) {
                if instance.version == version {
                    put_mark(&mut marks, instance, raw_end);
                }
            }
            marks
        };
        match self.logs.get_mut(&version) {
            Some(log) => log.append(stored, &self.limits, marks),
            None => Ok(()),
        }
    }

    /// Removes the logs of versions that have not run for longest.
    fn prune(&mut self) {
        let pruned = self.idle_version_dirs().and_then(|mut idle| {
            let surplus = idle.len().saturating_sub(self.limits.idle_versions_max);
            idle.sort();
            let surplus = idle.iter().take(surplus);
            surplus
                .map(|(_, path)| path)
                .try_for_each(fs::remove_dir_all)
        });
        if let Err(error) = pruned {
            tracing::warn!(%error, "old logs could not be removed");
        }
    }

    fn idle_version_dirs(&self) -> io::Result<Vec<(SystemTime, PathBuf)>> {
        let mut idle = Vec::new();
        for entry in fs::read_dir(self.data.logs())? {
            let entry = entry?;
            let name = entry.file_name();
            let version = name
                .to_str()
                .and_then(|name| u64::from_str_radix(name, 16).ok());
            if version.is_some_and(|version| !self.logs.contains_key(&version)) {
                idle.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        Ok(idle)
    }

    fn note_failure(&mut self, kept: io::Result<()>) {
        match kept {
            Ok(()) => self.is_failing = false,
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(
                        %error,
                        "output of instances cannot be kept for now; check space and permissions \
                         of the data directory"
                    );
                }
            }
        }
    }

    fn version_dir(&self, version: u64) -> PathBuf {
        self.data.logs().join(format!("{version:016x}"))
    }

    fn raw_path(&self, instance: InstanceRef) -> PathBuf {
        self.version_dir(instance.version)
            .join(format!("{instance}.log"))
    }
}

fn stored(raw: &Raw, lines: &[super::split::Line]) -> Vec<u8> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let mut stored = Vec::new();
    for line in lines {
        put_line(&mut stored, now_ms, raw.instance, line.end, &line.text);
    }
    stored
}
