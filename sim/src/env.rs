//! Everything of the world but the actors: what their effects reach.
//!
//! It is apart from them so that an actor can be stepped while its effects are carried out
//! here.

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use tidegate_engine::Engine as _;
use tidegate_kernel::{
    BlobCommand, BlobReport, Decision, DriverCommand, DriverReport, EngineOp, Note, Rng, Seed,
    Sink, Ticket,
};
use tidegate_protocol::{
    Address, BlobData, Bytes, Envelope, InstanceRef, Message, Prost, Role,
    store_commit_reply::Outcome,
};
use tidegate_sim_queue::{EventQueue, TraceHash};

use crate::blob::Blobs;
use crate::clock::{NodeClock, SimTime};
use crate::disk::Disk;
use crate::draw;
use crate::explain::told::{Told, Why};
use crate::happening::{Flight, Happening};
use crate::inspect::Printed;
use crate::instance::Instances;
use crate::ledger::Ledger;
use crate::network::{Fate, Network};
use crate::oracle::Oracles;
use crate::oracle::right_version::Epoch;
use crate::scenario::Scenario;
use crate::stats::Stats;
use crate::topology::Topology;

/// Time that a blob store takes for one command.
const BLOB_NS: u64 = 120_000;

/// Mean time from a commit's leaving until the process dies that asked for it.
const CRASH_WITHIN_NS: u64 = 4_000_000;

type FxMap<K, V> = IndexMap<K, V, FxBuildHasher>;

/// One machine.
#[derive(Debug)]
pub struct Node {
    pub clock: NodeClock,
    /// Its actors: role, index, number in the world.
    pub actors: Vec<(Role, u16, u32)>,
    pub blobs: Blobs,
    /// What its instances printed.
    pub printed: Printed,
    pub up: bool,
    /// Pauses that are on; while any is, events wait here.
    pub pauses: u32,
    pub deferred: Vec<Happening>,
    /// How many times slower its instances are than they should be.
    pub slow: u64,
    /// Faults that let its instances take no connections, and that keep its metald's messages
    /// from the store.
    pub deaf: u32,
    pub mute: u32,
    /// Of a million commits that its processes ask for, how many they do not survive.
    pub crash_at_commit: u32,
    /// Such a crash is to come, or its processes are not back from it.
    pub crashing: bool,
}

/// The address and the life of the actor that is being stepped.
#[derive(Clone, Copy, Debug)]
pub struct Stepped {
    pub me: Address,
    pub node: usize,
    pub actor: u32,
    pub life: u32,
}

#[derive(Debug)]
pub struct Env {
    pub scenario: Scenario,
    pub now: SimTime,
    pub queue: EventQueue<Happening>,
    pub trace: TraceHash,
    pub topology: Topology,
    pub network: Network,
    pub nodes: Vec<Node>,
    /// Of the main store, then of each region.
    pub disks: Vec<Disk>,
    pub instances: Instances,
    pub ledger: Ledger,
    pub oracles: Oracles,
    pub stats: Stats,
    /// Held requests that go on, from the actor that was stepped last.
    pub resumes: Vec<(u32, Ticket, Decision)>,
    /// Messages that reached the operator.
    pub operator_inbox: Vec<Message>,
    /// Machines that are paused.
    pub paused: u32,
    /// Nanoseconds that the clients of each region take for their answers, on average.
    pub slow_clients: Vec<u64>,
    /// When each claim that does not run yet became durable.
    pub claims: FxMap<(usize, InstanceRef), SimTime>,
    pub driver_rng: Rng,
    pub corruption_rng: Rng,
    pub rot_rng: Rng,
    pub crash_rng: Rng,
    /// What never becomes an event, for a run that is to be explained.
    pub told: Option<Box<Told>>,
}

impl Env {
    pub fn new(scenario: Scenario, seed: Seed) -> Self {
        let topology = Topology::new(&scenario);
        let network = Network::new(&scenario.network, &topology, seed.derive("network"));
        let clocks = &scenario.clocks;
        let nodes = (0..topology.nodes.len())
            .map(|i| Node {
                clock: NodeClock::drawn(
                    &mut seed.derive("clock").derive_index(i as u64).rng(),
                    clocks.offset.nanos(),
                    clocks.drift_ppm,
                ),
                actors: Vec::new(),
                blobs: Blobs::default(),
                printed: Printed::default(),
                up: true,
                pauses: 0,
                deferred: Vec::new(),
                slow: 1,
                deaf: 0,
                mute: 0,
                crash_at_commit: 0,
                crashing: false,
            })
            .collect::<Vec<_>>();
        let stores = topology.regions.len() + 1;
        let disks = (0..stores)
            .map(|i| {
                let rng = seed.derive("disk").derive_index(i as u64).rng();
                Disk::new(scenario.disks.clone(), rng)
            })
            .collect();
        let hosts: Vec<String> = scenario.apps.iter().map(crate::operator::host_of).collect();
        Self {
            now: 0,
            queue: EventQueue::seeded(seed.derive("tie-breaks").0),
            trace: TraceHash::new(),
            instances: Instances::new(nodes.len()),
            ledger: Ledger::new(topology.regions.len(), &hosts),
            oracles: Oracles::default(),
            stats: Stats::new(),
            resumes: Vec::new(),
            operator_inbox: Vec::new(),
            paused: 0,
            slow_clients: vec![0; topology.regions.len()],
            claims: FxMap::default(),
            driver_rng: seed.derive("driver").rng(),
            corruption_rng: seed.derive("corruption").rng(),
            rot_rng: seed.derive("bit rot").rng(),
            crash_rng: seed.derive("crash at commit").rng(),
            told: None,
            topology,
            network,
            nodes,
            disks,
            scenario,
        }
    }

    pub fn seconds(&self) -> f64 {
        self.now as f64 / 1e9
    }

    /// The number of an actor in the world.
    #[inline]
    pub fn actor_of(&self, address: Address) -> Option<u32> {
        let node = self.topology.index(address.node)?;
        self.nodes[node]
            .actors
            .iter()
            .find(|(role, index, _)| *role == address.role && *index == address.index)
            .map(|(.., actor)| *actor)
    }

    #[inline]
    pub fn after(&mut self, delay: u64, happening: Happening) {
        self.queue.push(self.now + delay, happening);
    }

    /// A process has asked for a commit: it may be the last thing that it does.
    fn tempt_fate(&mut self, node: usize) {
        let machine = &mut self.nodes[node];
        let chance = machine.crash_at_commit;
        if chance == 0 || machine.crashing || !self.crash_rng.chance(chance) {
            return;
        }
        machine.crashing = true;
        let node = node as u32;
        // Before the store has it, before it is durable, before the answer, or after.
        let delay = draw::exponential(&mut self.crash_rng, CRASH_WITHIN_NS);
        self.after(delay, Happening::AfterCommit { node, crash: true });
    }

    /// Puts a message on the network.
    pub fn transmit(&mut self, node: usize, from: Address, to: Address, body: Message) {
        self.stats.messages += 1;
        let Some(target) = self.topology.index(to.node) else {
            return;
        };
        let Some(body) = self.on_the_wire(node, target, from, to, body) else {
            self.stats.messages_lost += 1;
            return self.tell_lost(from, to, None, Why::Wire);
        };
        let mute = self.nodes[node].mute > 0 && from.role == Role::Metald;
        if mute && to.role == Role::Store {
            self.stats.messages_lost += 1;
            return self.tell_lost(from, to, Some(body), Why::Mute);
        }
        let connection = self.network.connection(node, target);
        let flight = |body| {
            Happening::Message(Box::new(Flight {
                from,
                to,
                body,
                connection,
            }))
        };
        match self.network.deliver(self.now, node, target) {
            Fate::Lost => {
                self.stats.messages_lost += 1;
                let cut = self.network.is_cut(node, target);
                let why = if cut { Why::Cut } else { Why::Chance };
                self.tell_lost(from, to, Some(body), why);
            }
            Fate::Arrives(at) => self.queue.push(at, flight(body)),
            Fate::Twice(at, again) => {
                self.queue.push(at, flight(body.clone()));
                self.queue.push(again, flight(body));
            }
        }
    }

    #[cold]
    fn tell_lost(&mut self, from: Address, to: Address, body: Option<Message>, why: Why) {
        if let Some(told) = &mut self.told {
            told.lost(from, to, body, why);
        }
    }

    /// What of a message leaves the wire: encoded and decoded if asked, changed if a fault
    /// says so. `None`: it does not survive.
    fn on_the_wire(
        &mut self,
        node: usize,
        target: usize,
        from: Address,
        to: Address,
        body: Message,
    ) -> Option<Message> {
        let chance = self.network.corruption(node, target);
        let body = match body {
            Message::BlobData(data) if chance > 0 && self.corruption_rng.chance(chance) => {
                Message::BlobData(self.corrupt(data))
            }
            body => body,
        };
        if !self.scenario.encode_messages {
            return Some(body);
        }
        let bytes = Envelope::new(from, to, body).encode_to_vec();
        if bytes.len() > tidegate_protocol::limits::ENVELOPE_BYTES_MAX {
            self.stats.mark("a message was too large for the wire");
            return None;
        }
        let (_, _, body) = Envelope::decode(bytes.as_slice()).ok()?.open()?;
        Some(body)
    }

    fn corrupt(&mut self, mut data: BlobData) -> BlobData {
        if let Some(place) = self.corruption_rng.index(data.data.len()) {
            let mut bytes = data.data.to_vec();
            bytes[place] ^= 0x20;
            data.data = Bytes::from(bytes);
        }
        data
    }

    /// Which store an address is: 0 the main one, then the regions'.
    pub fn store_index(&self, store: Address) -> Option<usize> {
        if store.role != Role::Store {
            return None;
        }
        let node = self.topology.index(store.node)?;
        match store.index {
            Address::MAIN_STORE => Some(0),
            _ => self.topology.nodes[node].region.map(|region| region + 1),
        }
    }
}

/// Carries out the effects of one actor.
pub struct EnvSink<'a> {
    pub env: &'a mut Env,
    pub stepped: Stepped,
}

impl Sink for EnvSink<'_> {
    fn send(&mut self, to: Address, body: Message) {
        if matches!(body, Message::StoreCommit(_)) {
            self.env.tempt_fate(self.stepped.node);
        }
        if let Message::StoreCommitReply(reply) = &body
            && let Some(Outcome::Applied(told)) = reply.outcome
            && let Some(store) = self.env.store_index(self.stepped.me)
        {
            let durable = self.env.disks[store].engine.revision();
            let name = &self.env.topology.nodes[self.stepped.node].name;
            let oracles = &mut self.env.oracles;
            oracles
                .durable
                .answered(name, told, durable, &mut oracles.findings);
        }
        if let Message::ApiReply(reply) = &body
            && self.stepped.me.role == Role::Control
        {
            let main = self.env.ledger.main();
            let oracles = &mut self.env.oracles;
            oracles.durable.told(reply, main, &mut oracles.findings);
        }
        self.env
            .transmit(self.stepped.node, self.stepped.me, to, body);
    }

    fn engine(&mut self, op: EngineOp) {
        let Some(store) = self.env.store_index(self.stepped.me) else {
            return;
        };
        if let Some(cost) = self.env.disks[store].push(op) {
            let Stepped { actor, life, .. } = self.stepped;
            self.env.after(cost, Happening::Disk { actor, life });
        }
    }

    fn driver(&mut self, command: DriverCommand) {
        self.env.drive(self.stepped, command);
    }

    fn blob(&mut self, command: BlobCommand) {
        let Stepped {
            node, actor, life, ..
        } = self.stepped;
        if let Some(report) = self.env.nodes[node].blobs.run(command) {
            self.env.report_blob(actor, life, report);
        }
    }

    fn resume(&mut self, ticket: Ticket, decision: Decision) {
        self.env
            .resumes
            .push((self.stepped.actor, ticket, decision));
    }

    fn note(&mut self, note: Note) {
        if let Note::Serving {
            project,
            version,
            epoch,
        } = &note
        {
            let epoch = Epoch {
                epoch: *epoch,
                version: *version,
            };
            self.env.judge_adoption(self.stepped.actor, project, epoch);
        }
        if let Some(told) = &mut self.env.told {
            told.note(self.stepped.actor, &note);
        }
        self.env.stats.note(self.env.now, self.stepped.me, note);
    }
}

impl Env {
    fn judge_adoption(&mut self, gateway: u32, project: &str, epoch: Epoch) {
        let apps = &self.scenario.apps;
        let Some(app) = apps.iter().position(|a| a.name.get_ref() == project) else {
            return;
        };
        let app = app as u32;
        let named = self.ledger.named(app, epoch.epoch);
        let oracles = &mut self.oracles;
        let findings = &mut oracles.findings;
        let oracle = &mut oracles.right_version;
        oracle.adopts(gateway, app, epoch, named, findings);
    }

    fn report_blob(&mut self, actor: u32, life: u32, report: BlobReport) {
        let report = Box::new(report);
        self.after(
            BLOB_NS,
            Happening::Blob {
                actor,
                life,
                report,
            },
        );
    }

    /// A driver reports to the metald that asked, if that life of it is still there then.
    pub fn report(&mut self, to: Stepped, delay: u64, report: DriverReport) {
        let report = Box::new(report);
        let Stepped { actor, life, .. } = to;
        self.after(
            delay,
            Happening::Driver {
                actor,
                life,
                report,
            },
        );
    }
}
