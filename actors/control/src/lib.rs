//! The control actor: what tenants ask is validated and committed to the main store.
//!
//! It decides which versions exist, which one of a project should take the traffic after a
//! rollback or a promote, and which projects end. It never touches a region: `sync` carries
//! the main store there and moves deploys on. Requests that change something are planned
//! from the mirror (`plan`), committed with preconditions on all that the plan was made from,
//! and answered only after the commit is durable. A client whose request ends UNAVAILABLE
//! does not know whether it was carried out; repeating it with the same id, idempotency key
//! or version number is safe.
//!
//! Everything is bounded: requests in flight, replies remembered, bytes of a reply. An event
//! costs a walk over the requests in flight.

mod answered;
mod forward;
mod plan;
mod read;
mod regions;
mod requests;
#[cfg(test)]
mod tests;
mod validate;
mod view;

use serde::{Deserialize, Serialize};
use tidegate_kernel::{
    Actor, CommitId, Duration, Effect, Effects, Event, Load, Mirror, Note, Now, Rng, Time,
};
use tidegate_protocol::{
    Address, ApiError, ApiReply, ApiRequest, Key, Message, StoreCommitReply, api_request,
    store_commit_reply::Outcome,
};

use answered::{Answered, RequestName};
use forward::Forwards;
use plan::{Fault, Plan, Planned, Planner, Write};
use read::Read;
use regions::{Known, Regions};
use requests::{Call, Proof, Request, Requests, Stage};
use view::View;

/// Settings of a control actor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ControlConfig {
    pub me: Address,
    pub main_store: Address,
    /// Answers `ListInstances`.
    pub sync: Address,
    /// A project without host names of its own gets `{project}.{domain}`.
    pub domain: String,
    /// Requests in flight; more are answered UNAVAILABLE.
    pub requests_max: usize,
    /// Regions that may become known; hellos of more are passed over.
    pub regions_max: usize,
    /// A commit without an answer is forgotten after this.
    pub commit_timeout: Duration,
    /// A request that has not ended by then is answered UNAVAILABLE.
    pub request_timeout: Duration,
    /// A question to sync without an answer is repeated after this.
    pub forward_retry: Duration,
    /// Conflicts after which a request is answered CONFLICT.
    pub conflicts_max: u32,
}

impl ControlConfig {
    pub fn new(me: Address, main_store: Address, sync: Address, domain: String) -> Self {
        Self {
            me,
            main_store,
            sync,
            domain,
            requests_max: 1_024,
            regions_max: 256,
            commit_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(15),
            forward_retry: Duration::from_secs(2),
            conflicts_max: 5,
        }
    }
}

/// The control actor.
#[derive(Debug, Serialize, Deserialize)]
pub struct Control {
    config: ControlConfig,
    rng: Rng,
    mirror: Mirror,
    view: View,
    requests: Requests,
    forwards: Forwards,
    regions: Regions,
    answered: Answered,
    /// Revision of the last commit that a client was told of.
    acknowledged: u64,
}

impl Control {
    pub fn new(config: ControlConfig, mut rng: Rng) -> Self {
        let prefixes = [
            Key::PROJECTS,
            Key::VERSIONS,
            Key::DEPLOYS,
            Key::REGIONS,
            Key::COUNTERS,
        ];
        let mirror = Mirror::new(config.main_store, &prefixes, &mut rng);
        let forwards = Forwards::new(config.sync, config.forward_retry, &mut rng);
        Self {
            config,
            rng,
            mirror,
            view: View::default(),
            requests: Requests::default(),
            forwards,
            regions: Regions::default(),
            answered: Answered::default(),
            acknowledged: 0,
        }
    }

    /// Requests in flight.
    pub fn requests_in_flight(&self) -> usize {
        self.requests.len() + self.forwards.len()
    }

    fn on_message(&mut self, now: Now, from: Address, body: Message, fx: &mut Effects) {
        match body {
            Message::StoreFeed(feed) => {
                for change in self.mirror.on_feed(now, from, feed, fx) {
                    self.view.apply(change);
                }
            }
            Message::StoreCommitReply(reply) if from == self.config.main_store => {
                self.on_commit_reply(now, reply, fx);
            }
            Message::ApiRequest(request) => self.on_request(now, from, request, fx),
            Message::ApiReply(reply) => {
                if let Some((client, reply)) = self.forwards.on_reply(from, reply) {
                    fx.send(client, Message::ApiReply(reply));
                }
            }
            Message::RegionHello(hello) if self.mirror.is_live(now) => {
                let known = Known {
                    view: &self.view,
                    mirror: &self.mirror,
                    regions_max: self.config.regions_max,
                };
                self.regions
                    .on_hello(now.mono, from, hello, &known, &mut self.rng, fx);
            }
            _ => {}
        }
    }

    fn on_request(&mut self, now: Now, from: Address, request: ApiRequest, fx: &mut Effects) {
        let name = (from, request.id);
        let call = match parse(request) {
            Ok(Parsed::Forward(call)) => {
                return self.admit_forward(now, name, call, fx);
            }
            Ok(Parsed::Call(call)) => call,
            Err(fault) => return refuse(name, fault, fx),
        };
        if self.requests.holds(name, &call) {
            return;
        }
        if let Call::Write(write) = &call
            && let Some(reply) = self.answered.repeated(now.mono, name, write)
        {
            return answer(name, reply, fx);
        }
        if fx.buggify("buggify: control admits no request") {
            return refuse(name, full(), fx);
        }
        if let Err(fault) = self.admit(now) {
            if fault == full() {
                fx.note(Note::Full { queue: "requests" });
            }
            return refuse(name, fault, fx);
        }
        self.requests.push(Request {
            name,
            call,
            arrived_wall_ms: now.wall.unix_ms,
            deadline: now.mono + self.config.request_timeout,
            conflicts: 0,
            stage: Stage::Waiting { tried: None },
        });
    }

    fn admit_forward(
        &mut self,
        now: Now,
        name: RequestName,
        call: tidegate_protocol::ListInstances,
        fx: &mut Effects,
    ) {
        if self.requests_in_flight() >= self.config.requests_max {
            fx.note(Note::Full { queue: "requests" });
            return refuse(name, full(), fx);
        }
        let deadline = now.mono + self.config.request_timeout;
        self.forwards.push(now.mono, name, call, deadline, fx);
    }

    fn admit(&self, now: Now) -> Result<(), Fault> {
        if self.requests_in_flight() >= self.config.requests_max {
            return Err(full());
        }
        if !self.mirror.is_live(now) {
            return Err(Fault::new(
                ApiError::Unavailable,
                "the main store cannot be reached; nothing was done, try again in some seconds",
            ));
        }
        Ok(())
    }

    fn on_commit_reply(&mut self, now: Now, reply: StoreCommitReply, fx: &mut Effects) {
        let commit = CommitId(reply.id);
        if self.regions.on_answer(commit) {
            return;
        }
        let Some(order) = self.requests.order_of(commit) else {
            return;
        };
        match reply.outcome {
            Some(Outcome::Applied(revision)) => {
                self.acknowledged = self.acknowledged.max(revision);
                // The reply to the client has left with this answer.
                if let Some((request, plan)) = self.take_committing(order) {
                    self.remember(now.mono, &request, plan.reply);
                }
            }
            Some(Outcome::Conflict(_)) => {
                if let Some(request) = self.requests.get_mut(order) {
                    request.conflicts += 1;
                    request.retract(true);
                    fx.mark("control: conflict");
                }
            }
            Some(Outcome::Refused(why)) => {
                if let Some(request) = self.requests.remove(order) {
                    let reason = format!(
                        "the main store refused the write: {why}; repeat the request with the same key"
                    );
                    refuse(request.name, Fault::new(ApiError::Unavailable, reason), fx);
                }
            }
            None => {}
        }
    }

    fn take_committing(&mut self, order: u64) -> Option<(Request, Plan)> {
        let mut request = self.requests.remove(order)?;
        let waiting = Stage::Waiting { tried: None };
        match std::mem::replace(&mut request.stage, waiting) {
            Stage::Committing { plan, .. } => Some((request, *plan)),
            Stage::Waiting { .. } => None,
        }
    }

    fn remember(&mut self, now: Time, request: &Request, reply: ApiReply) {
        if let Call::Write(write) = &request.call {
            self.answered
                .remember(now, request.name, write.clone(), reply);
        }
    }

    /// Ends what took too long.
    fn on_time(&mut self, now: Now, fx: &mut Effects) {
        let timeout = self.config.commit_timeout;
        self.regions.forget_late(now.mono, timeout, fx);
        for order in self.requests.overdue(now.mono) {
            if let Some(request) = self.requests.remove(order) {
                if let Stage::Committing { commit, .. } = request.stage {
                    fx.push(Effect::Forget(commit));
                }
                refuse(request.name, request.out_of_time(), fx);
            }
        }
        for order in self.requests.unanswered(|sent| now.mono >= sent + timeout) {
            if let Some(request) = self.requests.get_mut(order) {
                if let Stage::Committing { commit, .. } = request.stage {
                    fx.push(Effect::Forget(commit));
                }
                request.retract(false);
                fx.mark("control: commit without an answer");
            }
        }
        for name in self.forwards.take_overdue(now.mono) {
            let reason =
                "sync does not answer, which knows the instances; try again in some seconds";
            refuse(name, Fault::new(ApiError::Unavailable, reason), fx);
        }
        self.forwards.ask_again(now.mono, fx);
    }

    /// Lets every request go on that can.
    fn advance(&mut self, now: Now, fx: &mut Effects) {
        if self.requests.len() == 0
            || !self.mirror.is_live(now)
            || self.mirror.revision() < self.acknowledged
        {
            return;
        }
        // A request that ends lets the next one of its project go.
        loop {
            let before = self.requests.len();
            for order in self.requests.ready() {
                self.try_request(now, order, fx);
            }
            if self.requests.len() == before {
                break;
            }
        }
    }

    fn try_request(&mut self, now: Now, order: u64, fx: &mut Effects) {
        let Some(request) = self.requests.get_mut(order) else {
            return;
        };
        let write = match &request.call {
            Call::Read(read) => {
                let result = read::answer(&self.view, read);
                return self.end(now, order, result, fx);
            }
            Call::Write(write) => write,
        };
        if let Stage::Waiting { tried: Some(tried) } = &request.stage {
            match tried.proof(&self.view, &self.mirror) {
                Proof::Applied(reply) => {
                    fx.mark("control: proved by the mirror");
                    return self.end(now, order, Ok(reply), fx);
                }
                Proof::Behind => return,
                Proof::Void if request.conflicts > self.config.conflicts_max => {
                    let fault = contended(write);
                    return self.end(now, order, Err(fault), fx);
                }
                Proof::Void | Proof::Open => {}
            }
        }
        let planner = Planner {
            view: &self.view,
            mirror: &self.mirror,
            domain: &self.config.domain,
            arrived_wall_ms: request.arrived_wall_ms,
        };
        match planner.plan(write) {
            Ok(Planned::Commit(plan)) => {
                let commit = CommitId(self.rng.u64());
                let (client, id) = request.name;
                let reply = ApiReply {
                    id,
                    ..plan.reply.clone()
                };
                fx.commit(commit, self.config.main_store, plan.txn.clone());
                fx.send_after(commit, client, Message::ApiReply(reply));
                request.stage = Stage::Committing {
                    commit,
                    sent: now.mono,
                    plan,
                };
            }
            Ok(Planned::Done(reply)) => self.end(now, order, Ok(reply), fx),
            Err(fault) => self.end(now, order, Err(fault), fx),
        }
    }

    fn end(&mut self, now: Now, order: u64, result: Result<ApiReply, Fault>, fx: &mut Effects) {
        let Some(request) = self.requests.remove(order) else {
            return;
        };
        match result {
            Ok(reply) => {
                self.remember(now.mono, &request, reply.clone());
                answer(request.name, reply, fx);
            }
            Err(fault) => refuse(request.name, fault, fx),
        }
    }
}

impl Actor for Control {
    fn handle(&mut self, now: Now, event: Event, fx: &mut Effects) {
        match event {
            Event::Message { from, body } => self.on_message(now, from, body, fx),
            Event::Start | Event::Timer => {}
            Event::Engine(_) | Event::Driver(_) | Event::Blob(_) => return,
        }
        self.mirror.on_timer(now, fx);
        self.on_time(now, fx);
        self.advance(now, fx);
    }

    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        let timeout = self.config.commit_timeout;
        let regions = self.regions.next_deadline(timeout);
        [
            Some(self.mirror.next_deadline()),
            self.requests.next_deadline(timeout),
            self.forwards.next_deadline(),
            regions.map(|at| (at, "forget the commit of a region")),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(at, _)| *at)
    }

    fn check(&self) {
        assert!(
            self.requests_in_flight() <= self.config.requests_max,
            "control admitted more requests than its bound"
        );
        self.requests.check();
    }

    fn load(&self) -> Vec<Load> {
        vec![
            Load::new(
                "requests",
                self.requests_in_flight(),
                self.config.requests_max,
            ),
            self.answered.load(),
            self.regions.load(),
        ]
    }
}

/// What a request asks for.
enum Parsed {
    Call(Call),
    Forward(tidegate_protocol::ListInstances),
}

fn parse(request: ApiRequest) -> Result<Parsed, Fault> {
    let invalid = |reason| Fault::new(ApiError::Invalid, reason);
    let call = request.call.ok_or_else(|| {
        invalid("call: not known to this control plane; update it, or use an older client".into())
    })?;
    Ok(Parsed::Call(match call {
        api_request::Call::CreateVersion(call) => {
            validate::create_version(&call).map_err(invalid)?;
            Call::Write(Write::Create(Box::new(call)))
        }
        api_request::Call::Activate(call) => {
            validate::project_name(&call.project).map_err(invalid)?;
            Call::Write(Write::Activate(call))
        }
        api_request::Call::RemoveProject(call) => {
            validate::project_name(&call.project).map_err(invalid)?;
            Call::Write(Write::Remove {
                project: call.project,
            })
        }
        api_request::Call::ListProjects(_) => Call::Read(Read::Projects),
        api_request::Call::ListVersions(call) => {
            validate::project_name(&call.project).map_err(invalid)?;
            Call::Read(Read::Versions {
                project: call.project,
            })
        }
        api_request::Call::GetDeploy(call) => Call::Read(Read::Deploy {
            version: call.version,
        }),
        api_request::Call::ListInstances(call) => {
            validate::project_name(&call.project).map_err(invalid)?;
            return Ok(Parsed::Forward(call));
        }
    }))
}

fn full() -> Fault {
    Fault::new(
        ApiError::Unavailable,
        "too many requests are in flight; nothing was done, try again in some seconds",
    )
}

fn contended(write: &Write) -> Fault {
    Fault::new(
        ApiError::Conflict,
        format!(
            "project: `{}` kept changing meanwhile; look at it, then repeat the request",
            write.project()
        ),
    )
}

fn answer((client, id): RequestName, reply: ApiReply, fx: &mut Effects) {
    fx.send(client, Message::ApiReply(ApiReply { id, ..reply }));
}

fn refuse(name: RequestName, fault: Fault, fx: &mut Effects) {
    let reply = ApiReply {
        error: fault.error.into(),
        reason: fault.reason,
        ..ApiReply::default()
    };
    answer(name, reply, fx);
}
