//! The API's client, for the command line.

use std::fs::File;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate_protocol::Digest;
use ureq::http::Response;
use ureq::{Agent, Body, RequestBuilder};

use crate::model::{Activation, Instance, Logs, NewVersion, Problem, Project, Version};

/// A connection to the API of an installation. Blocking.
pub struct Client {
    agent: Agent,
    base: String,
    token: String,
}

/// A call that did not succeed.
#[derive(Debug)]
pub enum CallError {
    /// Nobody answered.
    Unreachable { url: String, reason: String },
    /// The API said no.
    Refused { status: u16, problem: Problem },
    /// What came back is not what this version of the API gives.
    Unexpected(String),
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CallError::Unreachable { url, reason } => write!(
                f,
                "{url} cannot be reached: {reason}; is `tidegate dev` (or `tidegate run control`) \
                 running, and is --api right?"
            ),
            CallError::Refused { problem, .. } => f.write_str(&problem.reason),
            CallError::Unexpected(what) => write!(f, "the API's answer is not understood: {what}"),
        }
    }
}

impl std::error::Error for CallError {}

impl Client {
    /// `base` is "http://host:port".
    pub fn new(base: &str, token: &str) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .build()
            .into();
        Self {
            agent,
            base: base.trim_end_matches('/').to_owned(),
            token: token.to_owned(),
        }
    }

    /// # Errors
    /// See [`CallError`]; so for every call.
    pub fn projects(&self) -> Result<Vec<Project>, CallError> {
        self.get("/v1/projects")
    }

    /// # Errors
    /// See [`CallError`].
    pub fn versions(&self, project: &str) -> Result<Vec<Version>, CallError> {
        self.get(&format!("/v1/projects/{project}/versions"))
    }

    /// # Errors
    /// See [`CallError`].
    pub fn version(&self, id: u64) -> Result<Version, CallError> {
        self.get(&format!("/v1/versions/{id}"))
    }

    /// Slots of a project, in every region.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn instances(&self, project: &str) -> Result<Vec<Instance>, CallError> {
        self.get(&format!("/v1/instances?project={project}"))
    }

    /// # Errors
    /// See [`CallError`].
    pub fn logs(&self, project: &str, version: u32, cursor: &str) -> Result<Logs, CallError> {
        let url = self.url(&format!("/v1/projects/{project}/logs"));
        let request = self
            .agent
            .get(&url)
            .query("version", version.to_string())
            .query("cursor", cursor);
        json(&url, self.authorized(request).call())
    }

    /// # Errors
    /// See [`CallError`].
    pub fn create(&self, project: &str, new: &NewVersion) -> Result<Version, CallError> {
        self.post(&format!("/v1/projects/{project}/versions"), new)
    }

    /// # Errors
    /// See [`CallError`].
    pub fn activate(&self, project: &str, activation: Activation) -> Result<Version, CallError> {
        self.post(&format!("/v1/projects/{project}/activate"), &activation)
    }

    /// # Errors
    /// See [`CallError`].
    pub fn remove(&self, project: &str) -> Result<(), CallError> {
        let url = self.url(&format!("/v1/projects/{project}"));
        checked(&url, self.authorized(self.agent.delete(&url)).call()).map(drop)
    }

    /// Whether a blob need not be sent.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn has_blob(&self, digest: Digest) -> Result<bool, CallError> {
        let answer: serde_json::Value = self.get(&format!("/v1/blobs/{digest}"))?;
        Ok(answer["present"] == true)
    }

    /// Sends a blob.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn put_blob(&self, digest: Digest, content: &File) -> Result<(), CallError> {
        let url = self.url(&format!("/v1/blobs/{digest}"));
        let request = self.authorized(self.agent.put(&url));
        checked(&url, request.send(content)).map(drop)
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        let url = self.url(path);
        json(&url, self.authorized(self.agent.get(&url)).call())
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CallError> {
        let url = self.url(path);
        json(&url, self.authorized(self.agent.post(&url)).send_json(body))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn authorized<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        request.header("authorization", format!("Bearer {}", self.token))
    }
}

type Answer = Result<Response<Body>, ureq::Error>;

fn checked(url: &str, answer: Answer) -> Result<Response<Body>, CallError> {
    let mut response = answer.map_err(|error| CallError::Unreachable {
        url: url.to_owned(),
        reason: error.to_string(),
    })?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status().as_u16();
    let body = response.body_mut().read_to_string().unwrap_or_default();
    let problem = serde_json::from_str(&body).unwrap_or(Problem {
        error: "internal".into(),
        reason: format!("status {status}: {}", body.trim()),
    });
    Err(CallError::Refused { status, problem })
}

fn json<T: DeserializeOwned>(url: &str, answer: Answer) -> Result<T, CallError> {
    let mut response = checked(url, answer)?;
    let parsed = response.body_mut().read_json();
    parsed.map_err(|error| CallError::Unexpected(error.to_string()))
}
