//! What a new life of the platform makes of the former one's instances.
//!
//! Adopted is what has a whole record and whose leader still runs: same process id, same
//! start time, same boot. Everything else that a record, a directory or a process's mark
//! speaks of is ended and removed, because nobody was told that it runs, or it no longer does.
//! Nothing is started here, and nothing is killed that shows neither a mark of this data
//! directory nor kinship with a process that does.
//!
//! It runs before the first command, so that an inventory is simply what is known.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tidegate_protocol::InstanceRef;
use tokio::task::spawn_blocking;

use crate::context::Context;
use crate::data_dir::remove_file_if_there;
use crate::launch::remove_traces;
use crate::leader::{Handle, Leader};
use crate::names::{Key, key, parse_instance};
use crate::process_table::{Group, read_all};
use crate::state::State;
use crate::sweep::{kill_all, reap_all};

/// An instance of a former life that goes on.
pub(crate) struct Adopted {
    pub instance: InstanceRef,
    pub endpoint: SocketAddr,
    pub leader: Leader,
}

/// Ends what cannot be adopted, and returns what can.
pub(crate) async fn recover(context: &Arc<Context>) -> io::Result<Vec<Adopted>> {
    let surveyor = Arc::clone(context);
    let survey = spawn_blocking(move || survey(&surveyor))
        .await
        .map_err(io::Error::other)??;
    for (instance, group) in survey.dead.into_values() {
        tracing::info!(%instance, "what is left of a former life is removed");
        let mut killed = BTreeSet::new();
        let left = kill_all(context, instance, || group, &mut killed).await;
        reap_all(&killed);
        if left > 0 {
            tracing::error!(%instance, left, "processes of a former life cannot be killed");
        }
        let remover = Arc::clone(context);
        spawn_blocking(move || remove_traces(&remover, instance))
            .await
            .map_err(io::Error::other)?;
    }
    let mut adopted = Vec::new();
    for (instance, endpoint, handle) in survey.alive.into_values() {
        tracing::info!(%instance, %endpoint, "adopted from a former life");
        adopted.push(Adopted {
            instance,
            endpoint,
            leader: Leader::watch(handle)?,
        });
    }
    let instances = adopted.iter().map(|adopted| adopted.instance).collect();
    context.log.recover(instances).await?;
    Ok(adopted)
}

#[derive(Default)]
struct Survey {
    alive: BTreeMap<Key, (InstanceRef, SocketAddr, Handle)>,
    dead: BTreeMap<Key, (InstanceRef, Option<Group>)>,
}

fn survey(context: &Context) -> io::Result<Survey> {
    let mut survey = Survey::default();
    for entry in fs::read_dir(context.data.instances())? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".new") {
            remove_file_if_there(&entry.path())?;
            continue;
        }
        let Some(instance) = parse_instance(name.strip_suffix(".state").unwrap_or(&name)) else {
            tracing::warn!(path = %entry.path().display(), "not a file of the driver; left alone");
            continue;
        };
        // A directory is judged by its record, whichever of the two comes first.
        let text = fs::read_to_string(context.data.state(instance)).unwrap_or_default();
        let state = State::parse(&text).filter(|state| state.instance == instance);
        survey.judge(context, instance, state)?;
    }
    for process in read_all(context.data.id())? {
        if let Some(instance) = process.mark
            && !survey.alive.contains_key(&key(instance))
        {
            survey.dead.entry(key(instance)).or_insert((instance, None));
        }
    }
    Ok(survey)
}

impl Survey {
    fn judge(
        &mut self,
        context: &Context,
        instance: InstanceRef,
        state: Option<State>,
    ) -> io::Result<()> {
        if self.alive.contains_key(&key(instance)) {
            return Ok(());
        }
        let mut group = None;
        if let Some(state) = state
            && let Some(leader) = state.leader
        {
            if let Some(handle) = Handle::of_recorded(&leader, &context.boot)? {
                let alive = (instance, state.endpoint, handle);
                self.alive.insert(key(instance), alive);
                return Ok(());
            }
            group = (leader.boot == context.boot).then_some(Group {
                leader: leader.pid,
                held: false,
            });
        }
        self.dead.insert(key(instance), (instance, group));
        Ok(())
    }
}
