//! Static apps: answering a path from an artifact.
//!
//! The manifest says which files there are; a file is named by its digest, which is its
//! entity tag as well. Only GET and HEAD; a directory answers with its `index.html`; a
//! missing file with the app's own `404.html` when it has one. Small files are kept in
//! memory by each worker, verified when they were read.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use tidegate_kernel::Outcome;
use tidegate_protocol::{Digest, Manifest};
use tokio::io::AsyncSeekExt;

use crate::body::{Answer, FileBody};
use crate::guard::Guard;
use crate::refusal;

/// Files up to this size are kept in memory, and all of them together up to that.
const SMALL_BYTES_MAX: u64 = 256 * 1024;
const KEPT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What clients wait whose file is being fetched again.
const RETRY_AFTER_S: u64 = 5;
/// Manifests kept in memory.
const SITES_MAX: usize = 256;

/// Where a front reads artifacts from: the node's blob store.
pub trait Artifacts: Send + Sync {
    /// The manifest of an artifact that is here and whole.
    ///
    /// # Errors
    /// It is not here, or damaged.
    fn manifest(&self, artifact: Digest) -> io::Result<Manifest>;
    /// A blob's content, verified.
    ///
    /// # Errors
    /// It is not here, or damaged.
    fn read(&self, blob: Digest) -> io::Result<Bytes>;
    /// A blob as a file, verified.
    ///
    /// # Errors
    /// It is not here, or damaged.
    fn open(&self, blob: Digest) -> io::Result<std::fs::File>;
}

pub(crate) struct Sites {
    artifacts: Arc<dyn Artifacts>,
    sites: RefCell<BTreeMap<Digest, Rc<Site>>>,
    kept: RefCell<Kept>,
}

#[derive(Default)]
struct Kept {
    blobs: BTreeMap<Digest, Bytes>,
    bytes: usize,
}

struct Site {
    files: BTreeMap<String, Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    digest: Digest,
    size: u64,
}

impl Sites {
    pub(crate) fn new(artifacts: Arc<dyn Artifacts>) -> Self {
        Self {
            artifacts,
            sites: RefCell::default(),
            kept: RefCell::default(),
        }
    }

    /// Answers a request from an artifact.
    pub(crate) async fn answer<B>(
        &self,
        artifact: Digest,
        request: &Request<B>,
        mut guard: Guard,
    ) -> Response<Answer> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            guard.end(Outcome::Answered);
            let mut answer = refusal::plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "a static app answers GET and HEAD only",
            );
            answer
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match self.found(artifact, request, guard).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(%artifact, %error, "an artifact that was verified cannot be read");
                unreadable()
            }
        }
    }

    async fn found<B>(
        &self,
        artifact: Digest,
        request: &Request<B>,
        mut guard: Guard,
    ) -> io::Result<Response<Answer>> {
        let site = self.site(artifact)?;
        let path = request.uri().path();
        let found = match site.find(path) {
            Found::File(name, entry) => (StatusCode::OK, name, entry),
            Found::Directory => {
                guard.end(Outcome::Answered);
                return Ok(redirect_to_directory(request));
            }
            Found::Nothing => match site.files.get("404.html") {
                Some(entry) => (StatusCode::NOT_FOUND, "404.html".to_owned(), *entry),
                None => {
                    guard.end(Outcome::Answered);
                    return Ok(refusal::plain(
                        StatusCode::NOT_FOUND,
                        "this app has no such file",
                    ));
                }
            },
        };
        self.send(found, request, guard).await
    }

    async fn send<B>(
        &self,
        (status, name, entry): (StatusCode, String, Entry),
        request: &Request<B>,
        mut guard: Guard,
    ) -> io::Result<Response<Answer>> {
        let tag = format!("\"{}\"", entry.digest);
        let mut answer = Response::new(Answer::Whole(None));
        let headers = answer.headers_mut();
        headers.insert(header::ETAG, value(&tag)?);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::CONTENT_TYPE, content_type(&name)?);
        if status == StatusCode::OK && matches_tag(request.headers(), &tag) {
            guard.end(Outcome::Answered);
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(answer);
        }
        let (status, first, length) = match range_of(request.headers(), &tag, entry.size) {
            _ if status != StatusCode::OK => (status, 0, entry.size),
            Range::Whole => (status, 0, entry.size),
            Range::Part { first, length } => {
                let range = format!("bytes {first}-{}/{}", first + length - 1, entry.size);
                headers.insert(header::CONTENT_RANGE, value(&range)?);
                (StatusCode::PARTIAL_CONTENT, first, length)
            }
            Range::Unsatisfiable => {
                guard.end(Outcome::Answered);
                let range = format!("bytes */{}", entry.size);
                headers.insert(header::CONTENT_RANGE, value(&range)?);
                *answer.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                return Ok(answer);
            }
        };
        headers.insert(header::CONTENT_LENGTH, length.into());
        *answer.status_mut() = status;
        if request.method() == Method::HEAD {
            guard.end(Outcome::Answered);
            return Ok(answer);
        }
        *answer.body_mut() = self.content(entry, first, length, guard).await?;
        Ok(answer)
    }

    async fn content(
        &self,
        entry: Entry,
        first: u64,
        length: u64,
        mut guard: Guard,
    ) -> io::Result<Answer> {
        if entry.size <= SMALL_BYTES_MAX {
            let whole = self.small(entry.digest)?;
            let (first, end) = (first as usize, (first + length) as usize);
            if end > whole.len() {
                return Err(io::Error::other(
                    "the blob is shorter than its manifest says",
                ));
            }
            guard.end(Outcome::Answered);
            return Ok(Answer::Whole(Some(whole.slice(first..end))));
        }
        let artifacts = Arc::clone(&self.artifacts);
        let opened = tokio::task::spawn_blocking(move || artifacts.open(entry.digest));
        let mut file = tokio::fs::File::from_std(opened.await.map_err(io::Error::other)??);
        file.seek(io::SeekFrom::Start(first)).await?;
        Ok(Answer::File(FileBody::new(file, length, guard)))
    }

    fn small(&self, digest: Digest) -> io::Result<Bytes> {
        if let Some(bytes) = self.kept.borrow().blobs.get(&digest) {
            return Ok(bytes.clone());
        }
        let bytes = self.artifacts.read(digest)?;
        let mut kept = self.kept.borrow_mut();
        if kept.bytes + bytes.len() > KEPT_BYTES_MAX {
            *kept = Kept::default();
        }
        kept.bytes += bytes.len();
        kept.blobs.insert(digest, bytes.clone());
        Ok(bytes)
    }

    fn site(&self, artifact: Digest) -> io::Result<Rc<Site>> {
        if let Some(site) = self.sites.borrow().get(&artifact) {
            return Ok(Rc::clone(site));
        }
        let site = Rc::new(Site::of(self.artifacts.manifest(artifact)?)?);
        let mut sites = self.sites.borrow_mut();
        if sites.len() >= SITES_MAX {
            sites.clear();
        }
        sites.insert(artifact, Rc::clone(&site));
        Ok(site)
    }
}

/// The node's edge fetches what its blob store found damaged.
fn unreadable() -> Response<Answer> {
    let reason = "this edge cannot read the file and fetches it again; repeat the request";
    let answer = refusal::plain(StatusCode::SERVICE_UNAVAILABLE, reason);
    refusal::retry_after(answer, RETRY_AFTER_S)
}

enum Found {
    File(String, Entry),
    /// A directory, asked for without its final slash.
    Directory,
    Nothing,
}

impl Site {
    fn of(manifest: Manifest) -> io::Result<Site> {
        let mut files = BTreeMap::new();
        for file in manifest.files {
            let digest = Digest::try_from(&file.digest).map_err(io::Error::other)?;
            let size = file.size;
            files.insert(file.path, Entry { digest, size });
        }
        Ok(Site { files })
    }

    /// Paths are compared with the manifest's, never with a file system.
    fn find(&self, path: &str) -> Found {
        let Ok(decoded) = percent_decode_str(path).decode_utf8() else {
            return Found::Nothing;
        };
        let name = decoded.strip_prefix('/').unwrap_or(&decoded);
        let index = if name.is_empty() || name.ends_with('/') {
            format!("{name}index.html")
        } else {
            if let Some(entry) = self.files.get(name) {
                return Found::File(name.to_owned(), *entry);
            }
            let directory = format!("{name}/index.html");
            if self.files.contains_key(&directory) {
                return Found::Directory;
            }
            format!("{name}.html")
        };
        match self.files.get(&index) {
            Some(entry) => Found::File(index, *entry),
            None => Found::Nothing,
        }
    }
}

fn redirect_to_directory<B>(request: &Request<B>) -> Response<Answer> {
    let query = request
        .uri()
        .query()
        .map_or(String::new(), |q| format!("?{q}"));
    // Relative to the last segment, so that no path can make it name another host.
    let last = request.uri().path().rsplit('/').next().unwrap_or_default();
    let mut answer = refusal::plain(StatusCode::PERMANENT_REDIRECT, "this is a directory");
    if let Ok(location) = value(&format!("./{last}/{query}")) {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    answer
}

fn value(text: &str) -> io::Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(io::Error::other)
}

fn content_type(name: &str) -> io::Result<HeaderValue> {
    let mime = mime_guess::from_path(name).first_or_octet_stream();
    if mime.type_() == mime_guess::mime::TEXT {
        value(&format!("{mime}; charset=utf-8"))
    } else {
        value(mime.as_ref())
    }
}

/// RFC 9110 §13.1.2, weak comparison.
fn matches_tag(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Range {
    Whole,
    Part { first: u64, length: u64 },
    Unsatisfiable,
}

/// RFC 9110 §14: one range is answered, several are answered with the whole.
fn range_of(headers: &HeaderMap, tag: &str, size: u64) -> Range {
    let stale = headers.get(header::IF_RANGE).is_some_and(|v| v != tag);
    let spec = headers
        .get(header::RANGE)
        .filter(|_| !stale)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("bytes="))
        .and_then(|spec| spec.trim().split_once('-'));
    let Some((first, last)) = spec else {
        return Range::Whole;
    };
    let number = |text: &str| text.parse::<u64>().ok();
    let bounds = match (first, last) {
        ("", suffix) => number(suffix).map(|n| (size.saturating_sub(n), size.saturating_sub(1))),
        (first, "") => number(first).map(|first| (first, size.saturating_sub(1))),
        (first, last) => number(first).zip(number(last)),
    };
    match bounds {
        None => Range::Whole,
        Some((first, last)) if first <= last && first < size => Range::Part {
            first,
            length: last.min(size - 1) - first + 1,
        },
        Some((first, last)) if first > last && first < size => Range::Whole,
        Some(_) => Range::Unsatisfiable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(paths: &[&str]) -> Site {
        let entry = Entry {
            digest: Digest([0; 32]),
            size: 1,
        };
        Site {
            files: paths.iter().map(|p| ((*p).to_owned(), entry)).collect(),
        }
    }

    fn found(site: &Site, path: &str) -> String {
        match site.find(path) {
            Found::File(name, _) => name,
            Found::Directory => "(directory)".into(),
            Found::Nothing => "(nothing)".into(),
        }
    }

    #[test]
    fn paths_name_files_of_the_manifest_and_nothing_else() {
        let site = site(&["index.html", "blog/index.html", "a b.txt", "about.html"]);
        for (path, file) in [
            ("/", "index.html"),
            ("/index.html", "index.html"),
            ("/blog/", "blog/index.html"),
            ("/blog", "(directory)"),
            ("/a%20b.txt", "a b.txt"),
            ("/about", "about.html"),
            ("/../index.html", "(nothing)"),
            ("/%2e%2e/etc/passwd", "(nothing)"),
            ("//index.html", "(nothing)"),
            ("/%ff", "(nothing)"),
            ("/blog/nothing", "(nothing)"),
        ] {
            assert_eq!(found(&site, path), file, "{path}");
        }
    }

    fn range(text: &'static str) -> Range {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static(text));
        range_of(&headers, "\"t\"", 10)
    }

    #[test]
    fn ranges_follow_the_standard() {
        let part = |first, length| Range::Part { first, length };
        assert_eq!(range("bytes=0-0"), part(0, 1));
        assert_eq!(range("bytes=2-"), part(2, 8));
        assert_eq!(range("bytes=-3"), part(7, 3));
        assert_eq!(range("bytes=5-99"), part(5, 5));
        assert_eq!(range("bytes=10-"), Range::Unsatisfiable);
        assert_eq!(range("bytes=0-1,3-4"), Range::Whole);
        assert_eq!(range("lines=0-1"), Range::Whole);
        assert_eq!(range_of(&HeaderMap::new(), "\"t\"", 10), Range::Whole);
    }

    #[test]
    fn a_tag_that_is_known_needs_no_content() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::IF_NONE_MATCH,
            HeaderValue::from_static("\"a\", W/\"t\""),
        );
        assert!(matches_tag(&headers, "\"t\""));
        assert!(!matches_tag(&headers, "\"u\""));
    }
}
