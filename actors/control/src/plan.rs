//! What one write request does to the main store: a pure function of the request and the
//! view.
//!
//! A plan is one transaction with preconditions on everything that it was decided from, the
//! reply that may leave once the transaction is applied, and a witness by which a later view
//! tells whether it was applied after all. Planning the same request from the same view gives
//! the same plan, so a commit whose answer was lost may be sent again.
//!
//! Whatever makes a version or ends a project also writes `counters/main`, with a
//! precondition. These commits therefore have one order, which is what keeps two projects
//! from getting one host name, a version id from being given twice, and the epochs of a
//! project's name from starting over after its removal.

use serde::{Deserialize, Serialize};
use tidegate_kernel::Mirror;
use tidegate_protocol::{
    Activate, ApiError, ApiReply, CountersRecord, CreateVersion, DeployRecord, DeployStep, Key,
    ProjectRecord, Record, Txn, VersionSpec, VersionStatus, Write as StoreWrite, limits,
};

use crate::validate;
use crate::view::{View, redacted};

/// A request that changes the main store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Write {
    Create(Box<CreateVersion>),
    Activate(Activate),
    Remove { project: String },
}

impl Write {
    pub(crate) fn project(&self) -> &str {
        match self {
            Write::Create(request) => request.spec.as_ref().map_or("", |spec| &spec.project),
            Write::Activate(request) => &request.project,
            Write::Remove { project } => project,
        }
    }

    /// Whether its commit writes the counters, so that only one of a kind can be under way.
    pub(crate) fn counts(&self) -> bool {
        !matches!(self, Write::Activate(_))
    }
}

/// By what a view shows that a commit was applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Witness {
    Version(Box<VersionSpec>),
    /// An epoch of a project begins with one commit, which names the epoch in its deploy.
    Activated {
        version: u64,
        epoch: u64,
    },
    Latch {
        project: String,
        latched: bool,
    },
    Removed(String),
}

impl Witness {
    pub(crate) fn holds(&self, view: &View) -> bool {
        match self {
            Witness::Version(spec) => view.versions.get(&spec.id) == Some(&**spec),
            Witness::Activated { version, epoch } => {
                view.deploys.get(version).is_some_and(|d| d.epoch == *epoch)
            }
            Witness::Latch { project, latched } => view
                .projects
                .get(project)
                .is_some_and(|p| p.latched == *latched),
            Witness::Removed(name) => view.projects.get(name).is_none_or(|p| p.removed),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) txn: Txn,
    pub(crate) reply: ApiReply,
    pub(crate) witness: Witness,
}

/// What a request comes to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Planned {
    /// Nothing has to be written.
    Done(ApiReply),
    Commit(Box<Plan>),
}

/// Why a request cannot be carried out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) error: ApiError,
    pub(crate) reason: String,
}

impl Fault {
    pub(crate) fn new(error: ApiError, reason: impl Into<String>) -> Self {
        Self {
            error,
            reason: reason.into(),
        }
    }

    pub(crate) fn no_project(name: &str) -> Self {
        Self::new(
            ApiError::NotFound,
            format!("project: there is no `{name}`; `deploy` makes one"),
        )
    }
}

pub(crate) struct Planner<'a> {
    pub(crate) view: &'a View,
    pub(crate) mirror: &'a Mirror,
    pub(crate) domain: &'a str,
    /// Wall time at which the request arrived. Part of the version, and the same for every
    /// try, so that all tries of a request plan the same version.
    pub(crate) arrived_wall_ms: u64,
}

impl Planner<'_> {
    pub(crate) fn plan(&self, write: &Write) -> Result<Planned, Fault> {
        match write {
            Write::Create(request) => self.create(request),
            Write::Activate(request) => self.activate(request),
            Write::Remove { project } => self.remove(project),
        }
    }

    fn create(&self, request: &CreateVersion) -> Result<Planned, Fault> {
        let view = self.view;
        let Some(spec) = &request.spec else {
            return Err(Fault::new(ApiError::Invalid, "spec: missing"));
        };
        let name = &spec.project;
        if let Some(id) = view.made_by_key(name, &request.idempotency_key) {
            return Ok(Planned::Done(reply_of(view, name, view.status(id))));
        }
        let old = view.projects.get(name);
        if old.is_some_and(|p| p.removed) {
            return Err(Fault::new(
                ApiError::Conflict,
                format!(
                    "project: `{name}` is being removed, which ends when every region has let \
                     go of it; deploy again then, or choose another name"
                ),
            ));
        }
        self.regions_are_known(spec)?;
        let hosts = self.hosts(request, name, old)?;
        let id = view.last_version() + 1;
        let project = self.project_with(name, old, hosts)?;
        let spec = self.version(spec, id, project.last_number);
        let deploy = DeployRecord {
            version: id,
            project: name.clone(),
            step: DeployStep::Distribute.into(),
            idempotency_key: request.idempotency_key.clone(),
            ..DeployRecord::default()
        };
        let counters = CountersRecord {
            last_version: id,
            ..view.counters
        };
        let txn = self.txn([
            (Key::Counters, Record::Counters(counters)),
            (Key::Version(id), Record::Version(spec.clone())),
            (Key::Deploy(id), Record::Deploy(deploy.clone())),
            (Key::Project(name.clone()), Record::Project(project.clone())),
        ]);
        let status = VersionStatus {
            spec: Some(redacted(&spec)),
            deploy: Some(deploy),
            active: false,
        };
        Ok(Planned::Commit(Box::new(Plan {
            txn,
            reply: ApiReply {
                projects: vec![project],
                versions: vec![status],
                ..ApiReply::default()
            },
            witness: Witness::Version(Box::new(spec)),
        })))
    }

    fn regions_are_known(&self, spec: &VersionSpec) -> Result<(), Fault> {
        let known = &self.view.regions;
        let Some(stranger) = spec.regions.iter().find(|r| !known.contains_key(*r)) else {
            return Ok(());
        };
        let names: Vec<&str> = known.keys().take(16).map(String::as_str).collect();
        Err(Fault::new(
            ApiError::Invalid,
            format!(
                "regions: `{stranger}` is not known; name some of [{}], or none for every region",
                names.join(", ")
            ),
        ))
    }

    fn hosts(
        &self,
        request: &CreateVersion,
        name: &str,
        old: Option<&ProjectRecord>,
    ) -> Result<Vec<String>, Fault> {
        let hosts = match old {
            _ if !request.hosts.is_empty() => request.hosts.clone(),
            Some(project) => project.hosts.clone(),
            None => {
                let host = format!("{name}.{}", self.domain);
                validate::host_name(&host)
                    .map_err(|reason| Fault::new(ApiError::Invalid, reason))?;
                vec![host]
            }
        };
        for host in &hosts {
            let owner = self.view.owner_of_host(host);
            if let Some(owner) = owner.filter(|owner| *owner != name) {
                return Err(Fault::new(
                    ApiError::Conflict,
                    format!(
                        "hosts: `{host}` belongs to project `{owner}`; deploy that one without \
                         it first, or choose another name"
                    ),
                ));
            }
        }
        Ok(hosts)
    }

    /// The project's record after one more version. Gateways take a route only with a higher
    /// epoch, so other hosts of an active project begin one.
    fn project_with(
        &self,
        name: &str,
        old: Option<&ProjectRecord>,
        hosts: Vec<String>,
    ) -> Result<ProjectRecord, Fault> {
        let mut project = old.cloned().unwrap_or_else(|| ProjectRecord {
            name: name.to_owned(),
            epoch: self.view.counters.epoch_floor,
            ..ProjectRecord::default()
        });
        if project.active != 0 && project.hosts != hosts {
            project.epoch += 1;
        }
        project.hosts = hosts;
        project.last_number = project.last_number.checked_add(1).ok_or_else(|| {
            Fault::new(
                ApiError::Invalid,
                format!("project: `{name}` has used up its version numbers; start another one"),
            )
        })?;
        Ok(project)
    }

    fn version(&self, spec: &VersionSpec, id: u64, number: u32) -> VersionSpec {
        let mut spec = VersionSpec {
            id,
            number,
            created_wall_ms: self.arrived_wall_ms,
            ..spec.clone()
        };
        spec.env.sort_by(|a, b| a.name.cmp(&b.name));
        spec
    }

    fn activate(&self, request: &Activate) -> Result<Planned, Fault> {
        let view = self.view;
        let name = &request.project;
        let old = view.projects.get(name).filter(|p| !p.removed);
        let old = old.ok_or_else(|| Fault::no_project(name))?;
        let target = self.target(request, old)?;
        let mut project = ProjectRecord {
            latched: request.rollback,
            ..old.clone()
        };
        let project_key = Key::Project(name.clone());
        if target == old.active {
            let reply = reply_with(project.clone(), view.status(target));
            if project == *old {
                return Ok(Planned::Done(reply));
            }
            return Ok(Planned::Commit(Box::new(Plan {
                txn: self.txn([(project_key, Record::Project(project.clone()))]),
                reply,
                witness: Witness::Latch {
                    project: name.clone(),
                    latched: request.rollback,
                },
            })));
        }
        project.active = target;
        project.epoch += 1;
        let deploy = DeployRecord {
            step: DeployStep::Live.into(),
            epoch: project.epoch,
            ..view.deploys.get(&target).cloned().unwrap_or_default()
        };
        let status = view.status(target).map(|status| VersionStatus {
            deploy: Some(deploy.clone()),
            active: true,
            ..status
        });
        Ok(Planned::Commit(Box::new(Plan {
            txn: self.txn([
                (project_key, Record::Project(project.clone())),
                (Key::Deploy(target), Record::Deploy(deploy)),
            ]),
            witness: Witness::Activated {
                version: target,
                epoch: project.epoch,
            },
            reply: reply_with(project, status),
        })))
    }

    /// The version that is to take the traffic.
    fn target(&self, request: &Activate, project: &ProjectRecord) -> Result<u64, Fault> {
        let view = self.view;
        let name = &request.project;
        if request.number == 0 {
            let below = match (request.rollback, view.versions.get(&project.active)) {
                (false, _) => u32::MAX,
                (true, Some(active)) => active.number,
                (true, None) => 0,
            };
            let mut candidates = view.numbers_of(name).rev();
            let found = candidates.find(|(number, id)| *number < below && self.has_arrived(*id));
            let (_, id) = found.ok_or_else(|| {
                Fault::new(
                    ApiError::NotFound,
                    format!("number: `{name}` has no version to go to; name one that was live"),
                )
            })?;
            return self.kept(name, id, project);
        }
        let id = view.id_of(name, request.number).ok_or_else(|| {
            Fault::new(
                ApiError::NotFound,
                format!(
                    "number: there is no `{name}@{}`; list the versions of `{name}`",
                    request.number
                ),
            )
        })?;
        if !self.has_arrived(id) {
            let step = view
                .deploys
                .get(&id)
                .map_or(DeployStep::Unspecified, |d| d.step());
            return Err(Fault::new(
                ApiError::Conflict,
                format!(
                    "number: `{name}@{}` is {}; only a version that was LIVE or READY can be \
                     activated",
                    request.number,
                    step.as_str_name().trim_start_matches("DEPLOY_STEP_")
                ),
            ));
        }
        self.kept(name, id, project)
    }

    /// A version that left the edges never comes back: its slots are gone, and with them the
    /// epochs that tell its instances apart.
    fn kept(&self, name: &str, id: u64, project: &ProjectRecord) -> Result<u64, Fault> {
        let newest = self.view.numbers_of(name).rev().map(|(_, id)| id);
        let arrived = newest.filter(|id| self.has_arrived(*id));
        if id == project.active || arrived.take(limits::VERSIONS_KEPT).any(|kept| kept == id) {
            return Ok(id);
        }
        Err(Fault::new(
            ApiError::Conflict,
            format!(
                "number: edges keep the {} newest versions of `{name}`, and this one is older; \
                 deploy it again",
                limits::VERSIONS_KEPT
            ),
        ))
    }

    fn has_arrived(&self, id: u64) -> bool {
        let step = self.view.deploys.get(&id).map(|d| d.step());
        matches!(step, Some(DeployStep::Live | DeployStep::Ready))
    }

    fn remove(&self, name: &str) -> Result<Planned, Fault> {
        let old = self.view.projects.get(name);
        let old = old.ok_or_else(|| Fault::no_project(name))?;
        if old.removed {
            return Ok(Planned::Done(reply_with(old.clone(), None)));
        }
        let project = ProjectRecord {
            removed: true,
            active: 0,
            epoch: old.epoch + 1,
            ..old.clone()
        };
        let counters = CountersRecord {
            last_version: self.view.last_version(),
            epoch_floor: self.view.counters.epoch_floor.max(project.epoch),
        };
        Ok(Planned::Commit(Box::new(Plan {
            txn: self.txn([
                (Key::Counters, Record::Counters(counters)),
                (
                    Key::Project(name.to_owned()),
                    Record::Project(project.clone()),
                ),
            ]),
            reply: reply_with(project, None),
            witness: Witness::Removed(name.to_owned()),
        })))
    }

    /// Writes all, if none has changed since the view.
    fn txn<const N: usize>(&self, records: [(Key, Record); N]) -> Txn {
        let preconditions = records.iter().map(|(key, _)| self.mirror.unchanged(key));
        Txn {
            preconditions: preconditions.collect(),
            writes: records
                .iter()
                .map(|(key, record)| StoreWrite {
                    key: key.to_string(),
                    value: Some(record.encode()),
                })
                .collect(),
        }
    }
}

fn reply_with(project: ProjectRecord, status: Option<VersionStatus>) -> ApiReply {
    ApiReply {
        projects: vec![project],
        versions: status.into_iter().collect(),
        ..ApiReply::default()
    }
}

fn reply_of(view: &View, name: &str, status: Option<VersionStatus>) -> ApiReply {
    ApiReply {
        projects: view.projects.get(name).cloned().into_iter().collect(),
        versions: status.into_iter().collect(),
        ..ApiReply::default()
    }
}
