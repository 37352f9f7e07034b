//! `tidegate ps` and `tidegate versions`.

use std::time::{Duration, UNIX_EPOCH};

use tidegate_api::model::{Kind, State};

use super::table;
use crate::cli::{ProjectOptions, PsOptions};
use crate::context;

pub(crate) fn instances(options: &PsOptions) -> anyhow::Result<()> {
    let client = context::client(&options.api)?;
    let only = options.project.as_deref().unwrap_or_default();
    let mut projects = client.projects()?;
    projects.retain(|p| only.is_empty() || p.name == only);
    if projects.is_empty() && !only.is_empty() {
        anyhow::bail!("there is no project `{only}`; `tidegate ps` lists all");
    }
    let mut instances = Vec::new();
    for project in &projects {
        let mut of_project = client.instances(&project.name)?;
        of_project.retain(|i| i.state != State::Free);
        instances.extend(of_project);
    }
    if options.api.json {
        let object = serde_json::json!({ "projects": projects, "instances": instances });
        println!("{}", serde_json::to_string_pretty(&object)?);
        return Ok(());
    }
    let mut rows = Vec::new();
    for project in &projects {
        let urls = project.urls.join(" ");
        let active = match project.active {
            0 => "-".to_owned(),
            number => number.to_string(),
        };
        let mut of_project = instances.iter().filter(|i| i.project == project.name);
        let first = of_project.next();
        let state = |i: Option<&tidegate_api::model::Instance>| match i {
            None if project.kind == Some(Kind::Static) => {
                ["-", "static", "-", "-"].map(str::to_owned)
            }
            None => ["-", "asleep", "-", "-"].map(str::to_owned),
            Some(i) => [
                format!("{}.{}", i.number, i.slot),
                i.state.name().to_owned(),
                i.region.clone(),
                i.host.clone(),
            ],
        };
        let [instance, now, region, host] = state(first);
        rows.push([
            project.name.clone(),
            active,
            instance,
            now,
            region,
            host,
            urls,
        ]);
        for more in of_project {
            let [instance, now, region, host] = state(Some(more));
            let blank = String::new();
            rows.push([
                blank.clone(),
                blank.clone(),
                instance,
                now,
                region,
                host,
                blank,
            ]);
        }
    }
    table::print(
        [
            "PROJECT", "VERSION", "INSTANCE", "STATE", "REGION", "HOST", "URL",
        ],
        &rows,
    );
    Ok(())
}

pub(crate) fn versions(options: &ProjectOptions) -> anyhow::Result<()> {
    let client = context::client(&options.api)?;
    let versions = client.versions(&options.project)?;
    if options.api.json {
        println!("{}", serde_json::to_string_pretty(&versions)?);
        return Ok(());
    }
    let rows: Vec<_> = versions
        .iter()
        .map(|v| {
            let created = UNIX_EPOCH + Duration::from_millis(v.created_unix_ms);
            [
                v.number.to_string(),
                if v.active { "*" } else { "" }.to_owned(),
                v.step.name().to_owned(),
                humantime::format_rfc3339_seconds(created).to_string(),
                v.artifact.chars().take(12).collect(),
                v.reason.clone(),
            ]
        })
        .collect();
    table::print(
        [
            "VERSION", "ACTIVE", "STATE", "CREATED", "ARTIFACT", "REASON",
        ],
        &rows,
    );
    Ok(())
}
