//! How often the driver is asked for what no record keeps: not for an answer that is not needed.

use crate::{bench::Bench, driver::Driver};
use axum::body::Body;
use serde_json::json;
use std::sync::{Arc, atomic::Ordering};

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_has_costs_no_look_at_the_process() {
    let mut looks = Arc::default();
    let bench = Bench::driven(|data| {
        let driver = Driver::new(data);
        looks = Arc::clone(&driver.looks);
        Arc::new(driver)
    })
    .await;
    let mut vm = bench.vm("a");
    vm["start"] = json!(true);
    let answer = bench.post("/v1/vms?wait=30", &vm).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    let ask = async |known: &str| {
        let before = looks.load(Ordering::Relaxed);
        let answer = bench.ask("GET", "/v1/vms/a", &[("if-none-match", known)], Body::empty()).await;
        (answer.status.as_u16(), looks.load(Ordering::Relaxed) - before)
    };
    assert_eq!(ask("\"0\"").await, (200, 1));
    assert_eq!(ask("*").await, (304, 0));
}
