//! The page of `explain`, in a real browser: Chromium, driven through WebDriver.
//!
//! Without `chromium` and `chromedriver` it says so and proves nothing; where CI is set,
//! that is a failure.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fantoccini::actions::{
    InputSource as _, MOUSE_BUTTON_LEFT, MouseActions, PointerAction, WheelAction, WheelActions,
};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

/// Set up before anything of the page runs; keeps every error that a console would show.
const LISTENER: &str = "<script>window.troubles = [];
addEventListener('error', (e) => troubles.push(String(e.message || e.target.outerHTML)), true);
addEventListener('unhandledrejection', (e) => troubles.push(String(e.reason)));
for (const level of ['error', 'warn']) console[level] = (...told) => troubles.push(told.join(' '));
</script>";

struct Driver {
    process: Child,
    address: String,
}

impl Driver {
    /// `None` when the programs are not installed.
    fn start() -> Option<Self> {
        let installed = |program: &str| {
            let asked = Command::new(program).arg("--version").output();
            asked.is_ok_and(|output| output.status.success())
        };
        if !installed("chromium") || !installed("chromedriver") {
            return None;
        }
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, port) = line.split_once("started successfully on port ")?;
                Some(port.trim_end_matches('.').to_owned())
            })
            .expect("chromedriver says on which port it listens");
        Some(Self {
            process,
            address: format!("http://127.0.0.1:{port}"),
        })
    }

    async fn open(&self, page: &Path) -> Client {
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1500,950",
        ];
        let Value::Object(wishes) = json!({"goog:chromeOptions": {"args": arguments}}) else {
            unreachable!("an object was written");
        };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let client = builder
            .capabilities(wishes)
            .connect(&self.address)
            .await
            .unwrap();
        client
            .goto(&format!("file://{}", page.display()))
            .await
            .unwrap();
        client
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Writes the page of a run that violates a guarantee.
fn page() -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join("in-browser.html");
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/impatient.toml");
    let status = Command::new(env!("CARGO_BIN_EXE_tidegate-sim"))
        .args(["explain", scenario, "--seed", "3", "--out"])
        .arg(&file)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let page = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        page.replacen("<head>", &format!("<head>{LISTENER}"), 1),
    )
    .unwrap();
    file
}

struct Page(Client);

impl Page {
    async fn ask(&self, expression: &str) -> Value {
        let script = format!("return {expression};");
        self.0.execute(&script, Vec::new()).await.unwrap()
    }

    /// Waits until it holds; the page draws in its next frame.
    async fn until(&self, expression: &str) {
        for _ in 0..200 {
            if self.ask(expression).await == Value::Bool(true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it never holds that {expression}");
    }

    async fn press(&self, id: &str) {
        let button = self.0.find(Locator::Id(id)).await.unwrap();
        button.click().await.unwrap();
    }

    async fn click(&self, x: f64, y: f64) {
        let mouse = MouseActions::new("mouse".into())
            .then(PointerAction::MoveTo {
                duration: None,
                x,
                y,
            })
            .then(PointerAction::Down {
                button: MOUSE_BUTTON_LEFT,
            })
            .then(PointerAction::Up {
                button: MOUSE_BUTTON_LEFT,
            });
        self.0.perform_actions(mouse).await.unwrap();
    }
}

#[test]
fn a_person_finds_the_violation_and_steps_through_an_actor() {
    let Some(driver) = Driver::start() else {
        assert!(
            std::env::var_os("CI").is_none(),
            "chromium and chromedriver are not installed"
        );
        eprintln!("NOT TESTED: chromium and chromedriver are not installed");
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let page = Page(driver.open(&page()).await);
        shows_the_violation(&page).await;
        shows_an_event(&page).await;
        searches(&page).await;
        zooms(&page).await;
        leaves_out_what_is_no_history(&page).await;
        assert_eq!(page.ask("troubles").await, json!([]));
        page.0.close().await.unwrap();
    });
}

async fn shows_the_violation(page: &Page) {
    page.until("document.title === 'impatient, seed 3 · Tidegate'")
        .await;
    page.until("document.getElementById('verdict').textContent.startsWith('Guarantee 12 violated at 45.000')").await;
    // World, operator, 4 of control, clients, 4 of the gateway's machine, the store, 2 hosts
    // with two lanes each.
    assert_eq!(page.ask("tidegate.data.lanes.length").await, 16);
    page.until("tidegate.view.rows.filter((r) => r.lane !== undefined).length === 16")
        .await;
    // It is in view, and red stands on the canvas where it is.
    let red = "(() => {
        const v = tidegate.data.violations[0];
        const canvas = document.getElementById('diagram');
        const box = canvas.getBoundingClientRect();
        const [left] = tidegate.place(v.event);
        const ratio = canvas.width / box.width;
        const [r, g, b] = canvas.getContext('2d').getImageData((left - box.left) * ratio, canvas.height - 4, 1, 1).data;
        return r > g + 60 && r > b + 60;
    })()";
    page.until(red).await;
}

async fn shows_an_event(page: &Page) {
    // The last event of the history on the lane of an actor that it changed.
    let event = page
        .ask(
            "tidegate.data.violations[0].history.filter((e) =>
                tidegate.data.states.some(([lane, changes]) => lane === tidegate.data.events.lane[e] &&
                    changes.some((c) => c[0] === e && c[1]))).at(-1)",
        )
        .await;
    page.ask(&format!("tidegate.show(tidegate.data.events.at[{event}] - 1e4, tidegate.data.events.at[{event}] + 1e4)")).await;
    let place = page.ask(&format!("tidegate.place({event})")).await;
    let at = |i: usize| place[i].as_f64().unwrap().round();
    page.click(at(0), at(1)).await;
    page.until("!document.getElementById('panel').hidden").await;
    page.until(&format!(
        "document.getElementById('panel').dataset.event === '{event}'"
    ))
    .await;
    for selector in ["#state .added", "#state .removed", "#cause", "#effects"] {
        let found = page.0.find(Locator::Css(selector)).await;
        assert!(found.is_ok(), "{selector}");
    }
    // The whole state is longer than its changes.
    let short = page
        .ask("document.getElementById('state').children.length")
        .await;
    page.press("whole-state").await;
    page.until(&format!(
        "document.getElementById('state').children.length > {short}"
    ))
    .await;
    page.press("whole-state").await;
    page.press("previous-of-actor").await;
    page.until(&format!(
        "+document.getElementById('panel').dataset.event < {event}"
    ))
    .await;
    page.until(&format!(
        "tidegate.data.events.lane[tidegate.view.selected] === tidegate.data.events.lane[{event}]"
    ))
    .await;
    page.press("next-of-actor").await;
    page.until(&format!(
        "document.getElementById('panel').dataset.event === '{event}'"
    ))
    .await;
    // The link to its cause leads there.
    let link = page
        .0
        .find(Locator::Css("#cause button.link"))
        .await
        .unwrap();
    link.click().await.unwrap();
    page.until(&format!(
        "tidegate.view.selected === tidegate.data.events.cause[{event}]"
    ))
    .await;
}

async fn searches(page: &Page) {
    let search = page.0.find(Locator::Id("search")).await.unwrap();
    search
        .send_keys("Reclaimed nothing of the kind")
        .await
        .unwrap();
    page.until("document.getElementById('matches').textContent === '0 found'")
        .await;
    search.clear().await.unwrap();
    search.send_keys("partition begins").await.unwrap();
    page.until("document.getElementById('matches').textContent === '1 found'")
        .await;
    page.press("next-match").await;
    page.until("document.querySelector('#panel h2').textContent.startsWith('partition begins')")
        .await;
    page.until("document.getElementById('matches').textContent === '1 of 1'")
        .await;
}

async fn zooms(page: &Page) {
    page.press("fit").await;
    let width = "tidegate.view.to - tidegate.view.from";
    let all = page.ask(width).await.as_f64().unwrap();
    page.press("zoom-in").await;
    page.until(&format!("{width} < {}", all * 0.7)).await;
    let mut wheel = WheelActions::new("wheel".into());
    wheel.push(WheelAction::Scroll {
        duration: None,
        x: 700,
        y: 500,
        delta_x: 0,
        delta_y: -600,
    });
    page.0.perform_actions(wheel).await.unwrap();
    page.until(&format!("{width} < {}", all * 0.4)).await;
    page.press("to-violation").await;
    page.until("tidegate.view.to > 45e9 && tidegate.view.from < 45e9")
        .await;
}

async fn leaves_out_what_is_no_history(page: &Page) {
    page.press("even").await;
    page.press("only").await;
    page.until("tidegate.view.list.length === tidegate.data.violations[0].history.length")
        .await;
    page.until("tidegate.view.rows.filter((r) => r.lane !== undefined).length < 16")
        .await;
    page.press("only").await;
    page.press("even").await;
}
