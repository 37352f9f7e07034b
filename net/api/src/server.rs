//! Routes and their handlers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tidegate_net::ApiClient;
use tidegate_protocol::api_request::Call;
use tidegate_protocol::{
    Activate, Address, ApiReply, CreateVersion, GetDeploy, ListInstances, ListProjects,
    ListVersions, RemoveProject,
};
use tidegate_storage::BlobStore;
use tokio::net::TcpListener;

use crate::model::{self, Activation, Instance, NewVersion, Project, PublicUrls, Version};
use crate::problem::Fault;
use crate::{blobs, logs};

/// JSON bodies are at most this long.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Longer than control itself may take.
const CALL_MAX: Duration = Duration::from_secs(20);

/// The metald of each host that is known, for their logs.
pub type HostsFn = Arc<dyn Fn() -> Vec<Address> + Send + Sync>;

/// What the API needs.
#[derive(Clone)]
pub struct Api {
    pub client: Arc<ApiClient>,
    pub control: Address,
    pub blobs: Arc<BlobStore>,
    pub hosts: HostsFn,
    pub token: Arc<str>,
    pub urls: PublicUrls,
}

/// Serves the API until the future is dropped.
///
/// # Errors
/// The listener is unusable.
pub async fn serve(listener: TcpListener, api: Api) -> io::Result<()> {
    axum::serve(listener, routes(api)).await
}

fn routes(api: Api) -> Router {
    Router::new()
        .route("/v1/health", get(|| async { "ok\n" }))
        .route("/v1/projects", get(list_projects))
        .route("/v1/projects/{project}", axum::routing::delete(remove))
        .route(
            "/v1/projects/{project}/versions",
            get(list_versions).post(create_version),
        )
        .route("/v1/projects/{project}/activate", post(activate))
        .route("/v1/projects/{project}/logs", get(logs::read))
        .route("/v1/versions/{id}", get(get_version))
        .route("/v1/instances", get(list_instances))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .route(
            "/v1/blobs/{digest}",
            put(blobs::upload)
                .get(blobs::is_here)
                .layer(DefaultBodyLimit::disable()),
        )
        .layer(middleware::from_fn_with_state(api.clone(), authorize))
        .with_state(api)
}

async fn authorize(
    State(api): State<Api>,
    request: Request,
    next: Next,
) -> Result<Response, Fault> {
    let shown = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    if !bool::from(shown.as_bytes().ct_eq(api.token.as_bytes())) {
        return Err(Fault::new(
            StatusCode::UNAUTHORIZED,
            "the token is missing or wrong; give --token, or set TIDEGATE_TOKEN",
        ));
    }
    Ok(next.run(request).await)
}

impl Api {
    pub(crate) async fn call(&self, call: Call) -> Result<ApiReply, Fault> {
        let reply = self.client.call(self.control, call, CALL_MAX).await?;
        Fault::check(reply)
    }

    pub(crate) async fn versions_of(&self, project: &str) -> Result<Vec<Version>, Fault> {
        let project = project.to_owned();
        let reply = self
            .call(Call::ListVersions(ListVersions { project }))
            .await?;
        Ok(reply
            .versions
            .into_iter()
            .filter_map(model::version)
            .collect())
    }
}

async fn list_projects(State(api): State<Api>) -> Result<Json<Vec<Project>>, Fault> {
    let reply = api.call(Call::ListProjects(ListProjects {})).await?;
    let mut projects = Vec::new();
    for record in &reply.projects {
        let mut active = None;
        if record.active != 0 {
            let version = record.active;
            let reply = api.call(Call::GetDeploy(GetDeploy { version })).await?;
            active = reply.versions.into_iter().next().and_then(|v| v.spec);
        }
        projects.push(api.urls.project(record, active.as_ref()));
    }
    Ok(Json(projects))
}

async fn list_versions(
    State(api): State<Api>,
    Path(project): Path<String>,
) -> Result<Json<Vec<Version>>, Fault> {
    Ok(Json(api.versions_of(&project).await?))
}

async fn get_version(State(api): State<Api>, Path(id): Path<u64>) -> Result<Json<Version>, Fault> {
    let reply = api.call(Call::GetDeploy(GetDeploy { version: id })).await?;
    one_version(reply)
}

async fn create_version(
    State(api): State<Api>,
    Path(project): Path<String>,
    Json(new): Json<NewVersion>,
) -> Result<(StatusCode, Json<Version>), Fault> {
    let spec = new
        .spec(&project)
        .ok_or_else(|| Fault::invalid("artifact: it is no digest of 64 hexadecimal digits"))?;
    blobs::artifact_is_complete(&api, &spec.artifact).await?;
    let reply = api
        .call(Call::CreateVersion(CreateVersion {
            spec: Some(spec),
            hosts: new.hosts,
            idempotency_key: new.idempotency_key,
        }))
        .await?;
    Ok((StatusCode::CREATED, one_version(reply)?))
}

async fn activate(
    State(api): State<Api>,
    Path(project): Path<String>,
    Json(activation): Json<Activation>,
) -> Result<Json<Version>, Fault> {
    let call = Call::Activate(Activate {
        project,
        number: activation.number,
        rollback: activation.rollback,
    });
    one_version(api.call(call).await?)
}

async fn remove(State(api): State<Api>, Path(project): Path<String>) -> Result<StatusCode, Fault> {
    api.call(Call::RemoveProject(RemoveProject { project }))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct OfProject {
    #[serde(default)]
    project: String,
}

async fn list_instances(
    State(api): State<Api>,
    Query(of): Query<OfProject>,
) -> Result<Json<Vec<Instance>>, Fault> {
    let project = of.project;
    let reply = api
        .call(Call::ListInstances(ListInstances { project }))
        .await?;
    let instances = reply.instances.into_iter().filter_map(model::instance);
    Ok(Json(instances.collect()))
}

fn one_version(reply: ApiReply) -> Result<Json<Version>, Fault> {
    let first = reply.versions.into_iter().next();
    first
        .and_then(model::version)
        .map(Json)
        .ok_or_else(|| Fault::internal("control answered without a version"))
}
