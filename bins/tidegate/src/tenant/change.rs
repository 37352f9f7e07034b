//! `tidegate rollback`, `promote` and `rm`.

use tidegate_api::model::Activation;

use crate::cli::{ActivateOptions, ProjectOptions};
use crate::context;

pub(crate) fn activate(options: &ActivateOptions, rollback: bool) -> anyhow::Result<()> {
    let client = context::client(&options.api)?;
    let number = options.to;
    let activation = Activation { number, rollback };
    let version = client.activate(&options.project, activation)?;
    if options.api.json {
        println!("{}", serde_json::to_string_pretty(&version)?);
    } else {
        let later = if rollback {
            "later deploys wait for `tidegate promote`"
        } else {
            "later deploys go live again"
        };
        println!(
            "traffic goes to {}@{}; {later}",
            version.project, version.number
        );
    }
    Ok(())
}

pub(crate) fn remove(options: &ProjectOptions) -> anyhow::Result<()> {
    context::client(&options.api)?.remove(&options.project)?;
    if options.api.json {
        println!("{}", serde_json::json!({ "removed": options.project }));
    } else {
        println!("{} is removed; its instances are stopping", options.project);
    }
    Ok(())
}
