//! The table of every state and input, and the stories that matter.

use super::*;
use crate::webhook::{Filter, invariant, spec};

const NOW: Timestamp = Timestamp(1_000_000);

fn later(ms: u64) -> Timestamp {
    Timestamp(NOW.0 + ms)
}

fn draft() -> Draft {
    let name: Name = "hook".parse().expect("a name");
    let spec =
        WebhookSpec { url: "http://a/".into(), filter: Filter::default(), timeout_s: spec::TIMEOUT_S_DEFAULT, retry_for_s: 10 };
    Draft {
        id: WebhookId::from_bits(1),
        name: name.clone(),
        project: name,
        labels: Labels::new(),
        spec,
        cursor: 5,
        enabled: true,
    }
}

fn new() -> Webhook {
    create(draft(), "user:admin".into(), NOW).next.expect("a webhook")
}

/// The step, with the invariants held to.
fn take(webhook: &Webhook, input: Input, now: Timestamp) -> Step {
    let step = step(webhook, input, now).expect("accepted");
    if let Some(next) = &step.next {
        invariant::check(next).unwrap_or_else(|broken| panic!("{broken}: {next:?}"));
    }
    step
}

fn next(webhook: &Webhook, input: Input, now: Timestamp) -> Webhook {
    take(webhook, input, now).next.expect("it stays")
}

fn finished(webhook: &Webhook, result: Finished) -> Input {
    Input::Finished { attempt: webhook.attempt, result, jitter: 500 }
}

fn found(upto: u64, count: u32) -> Finished {
    Finished::Found { upto, count }
}

fn failure() -> Finished {
    Finished::Failed { code: "http-status".into(), detail: "500".into(), retry_after_s: None, cursors: vec![6, 8, 9] }
}

fn command(command: Command) -> Input {
    Input::Command { command, actor: "user:admin".into() }
}

fn enabled(enabled: bool) -> Input {
    command(Command::Update(Change { enabled: Some(enabled), ..Change::default() }))
}

fn sending() -> Webhook {
    let webhook = new();
    next(&webhook, finished(&webhook, found(9, 3)), NOW)
}

fn waiting() -> Webhook {
    let webhook = sending();
    next(&webhook, finished(&webhook, failure()), later(10))
}

fn dead() -> Webhook {
    let webhook = sending();
    next(&webhook, finished(&webhook, failure()), later(10_000))
}

/// Each row: an input made for the state, and what each of following, sending, waiting, disabled is then (its state, and whether there is
/// an effect), or the refusal.
#[test]
fn every_state_by_every_input() {
    let disabled = next(&new(), enabled(false), NOW);
    let states = [new(), sending(), waiting(), disabled];
    type Make = fn(&Webhook) -> Input;
    let rows: Vec<(&str, Make, [&str; 4])> = vec![
        ("delete", |_| command(Command::Delete), ["gone!", "gone!", "gone!", "gone!"]),
        ("enable", |_| enabled(true), ["following", "sending", "waiting", "following!"]),
        ("disable", |_| enabled(false), ["disabled!", "disabled!", "disabled!", "disabled!"]),
        (
            "rename",
            |_| command(Command::Update(Change { labels: Some(Labels::new()), ..Change::default() })),
            ["following", "sending", "waiting", "disabled"],
        ),
        (
            "new url",
            |_| command(Command::Update(Change { url: Some("http://b/".into()), ..Change::default() })),
            ["following", "sending!", "sending!", "disabled"],
        ),
        (
            "new secret",
            |_| command(Command::Update(Change { secret: Some(3), ..Change::default() })),
            ["following", "sending!", "sending!", "disabled"],
        ),
        (
            "new filter",
            |_| {
                let filter = Filter { types: vec!["vm-started".into()], ..Filter::default() };
                command(Command::Update(Change { filter: Some(filter), ..Change::default() }))
            },
            ["following!", "following!", "following!", "disabled"],
        ),
        (
            "redeliver all",
            |_| command(Command::Redeliver { numbers: vec![] }),
            ["following", "sending", "waiting", "is disabled"],
        ),
        ("redeliver one", |_| command(Command::Redeliver { numbers: vec![7] }), ["no such", "no such", "no such", "is disabled"]),
        ("found", |w| finished(w, found(9, 3)), ["sending!", "sending", "waiting", "disabled"]),
        ("skipped", |w| finished(w, Finished::Skipped { upto: 9 }), ["following!", "sending", "waiting", "disabled"]),
        ("expired", |w| finished(w, Finished::Expired { oldest: 20 }), ["sending!", "sending!", "waiting", "disabled"]),
        ("delivered", |w| finished(w, Finished::Delivered), ["following", "following!", "waiting", "disabled"]),
        ("gone", |w| finished(w, Finished::Gone), ["following", "disabled!", "waiting", "disabled"]),
        ("no secret to sign with", |w| finished(w, Finished::SecretMissing), ["following", "disabled!", "waiting", "disabled"]),
        ("failed", |w| finished(w, failure()), ["following", "waiting!", "waiting", "disabled"]),
        ("elapsed", |w| Input::Elapsed { attempt: w.attempt }, ["following", "sending", "sending!", "disabled"]),
        ("recovered", |_| Input::Recovered, ["following!", "sending!", "waiting!", "disabled"]),
        ("loaded without its secret", |_| Input::SecretMissing, ["disabled!", "disabled!", "disabled!", "disabled"]),
        (
            "an older answer",
            |w| Input::Finished { attempt: Attempt(w.attempt.0 - 1), result: Finished::Delivered, jitter: 0 },
            ["following", "sending", "waiting", "disabled"],
        ),
        (
            "an older timer",
            |w| Input::Elapsed { attempt: Attempt(w.attempt.0 - 1) },
            ["following", "sending", "waiting", "disabled"],
        ),
    ];
    for (what, input, expected) in rows {
        for (before, expected) in states.iter().zip(expected) {
            let got = match step(before, input(before), NOW) {
                Err(refused) => refused.to_string(),
                Ok(step) => {
                    let name = match step.next.as_ref().map(|next| &next.state) {
                        None => "gone",
                        Some(State::Following) => "following",
                        Some(State::Sending(_)) => "sending",
                        Some(State::Waiting { .. }) => "waiting",
                        Some(State::Disabled(_)) => "disabled",
                    };
                    if let Some(next) = &step.next {
                        invariant::check(next).unwrap_or_else(|broken| panic!("{what}: {broken}: {next:?}"));
                    }
                    format!("{name}{}", if step.effect.is_some() { "!" } else { "" })
                }
            };
            let fits = if expected.contains(' ') { got.contains(expected) } else { got == expected };
            assert!(fits, "{:?} + {what}: {got}, not {expected}", before.state);
        }
    }
}

#[test]
fn deliveries_follow_one_another_without_a_gap() {
    let mut webhook = new();
    for (upto, count) in [(9, 3), (12, 1), (112, 100)] {
        webhook = next(&webhook, finished(&webhook, found(upto, count)), NOW);
        webhook = next(&webhook, finished(&webhook, Finished::Delivered), NOW);
        assert_eq!(webhook.cursor, upto);
    }
    assert_eq!((webhook.deliveries, webhook.delivered), (3, 104));
    assert_eq!(webhook.generation, Generation(1), "progress is no change of the resource");
}

#[test]
fn a_crash_sends_the_same_delivery_under_the_same_number() {
    let before = sending();
    let step = take(&before, Input::Recovered, later(5_000));
    let delivery = before.state.delivery().expect("one");
    assert_eq!(step.effect, Some(Effect::Send(delivery.clone())));
    let after = step.next.expect("it stays");
    assert_eq!(after.state, before.state);
    assert!(after.attempt > before.attempt, "an answer from before the crash is nobody's");
}

#[test]
fn waits_double_within_the_budget_and_the_last_attempt_is_at_its_end() {
    let mut webhook = sending();
    let (mut now, mut waits) = (NOW, vec![]);
    loop {
        webhook = next(&webhook, finished(&webhook, failure()), now);
        let State::Waiting { until, .. } = webhook.state else { break };
        waits.push(until.0 - now.0);
        now = until;
        webhook = next(&webhook, Input::Elapsed { attempt: webhook.attempt }, now);
    }
    assert_eq!(waits, [1_000, 2_000, 4_000, 3_000], "of ten seconds");
    assert_eq!((webhook.dead.len(), webhook.cursor), (1, 9));
    assert_eq!(webhook.state, State::Following, "the rest goes on");
}

/// A clock that is set neither spends the budget nor gives a new one: it counts the time in which the delivery was tried.
#[test]
fn a_clock_that_is_set_changes_little_of_the_budget() {
    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
    let tries = |jumps_at: usize, jump_ms: i64| {
        let mut webhook = Webhook { spec: WebhookSpec { retry_for_s: 3_600, ..new().spec }, ..sending() };
        let (mut now, mut true_ms, mut attempts) = (Timestamp(100 * DAY_MS), 0, 0);
        if let State::Sending(delivery) = &mut webhook.state {
            delivery.since = now;
        }
        loop {
            attempts += 1;
            if attempts == jumps_at {
                now = Timestamp(now.0.saturating_add_signed(jump_ms));
            }
            webhook = next(&webhook, finished(&webhook, failure()), now);
            let State::Waiting { until, .. } = webhook.state else { break (true_ms, webhook.dead.len()) };
            true_ms += until.0 - now.0;
            now = until;
            webhook = next(&webhook, Input::Elapsed { attempt: webhook.attempt }, now);
        }
    };
    for jumps_at in 1..12 {
        for jump_ms in [30 * DAY_MS as i64, 3_600_000, -3_600_000, -2 * DAY_MS as i64, -99 * DAY_MS as i64] {
            let (true_ms, letters) = tries(jumps_at, jump_ms);
            let off_ms = true_ms.abs_diff(3_600_000);
            assert!(letters == 1 && off_ms <= BETWEEN_FAILURES_MAX_MS, "{jump_ms} ms at {jumps_at}: tried for {true_ms} ms");
        }
    }
}

#[test]
fn jitter_is_a_quarter_and_the_receiver_may_ask_for_more() {
    assert_eq!([wait_ms(1, 0, None), wait_ms(1, 1_000, None)], [750, 1_250]);
    assert_eq!(wait_ms(1, 0, Some(30)), 30_000);
    assert_eq!(wait_ms(1, 0, Some(u32::MAX)), BACKOFF_MAX_MS);
    assert!(wait_ms(u32::MAX, 1_000, None) <= BACKOFF_MAX_MS);
}

#[test]
fn a_dead_letter_is_kept_told_once_and_bounded() {
    let mut webhook = new();
    for number in 0..DEAD_LETTERS_MAX as u64 + 2 {
        webhook = next(&webhook, finished(&webhook, found(10 + number, 1)), NOW);
        let step = take(&webhook, finished(&webhook, failure()), later(10_000));
        assert_eq!(step.events.len(), 1);
        assert_eq!(step.events[0].name, "webhook-dead-lettered");
        let drops = step.letters.iter().filter(|change| matches!(change, LetterChange::Drop(_))).count();
        assert_eq!(drops, usize::from(number >= DEAD_LETTERS_MAX as u64));
        webhook = step.next.expect("it stays");
    }
    assert_eq!((webhook.dead.len(), webhook.dead_dropped), (DEAD_LETTERS_MAX, 2));
    assert_eq!(webhook.dead[0].number, 3, "the oldest went");
}

#[test]
fn a_dead_letter_is_sent_again_once_and_stays_if_it_fails() {
    let ask = command(Command::Redeliver { numbers: vec![] });
    let trying = next(&dead(), ask, later(11_000));
    assert!(matches!(trying.state, State::Sending(Delivery { number: 1, what: What::Dead { count: 3 }, .. })), "{trying:?}");
    let still = next(&trying, finished(&trying, failure()), later(12_000));
    assert_eq!((still.dead.len(), still.redeliver.len(), &still.state), (1, 0, &State::Following));
    let done = take(&trying, finished(&trying, Finished::Delivered), later(12_000));
    assert_eq!(done.letters, [LetterChange::Drop(DeadRef { number: 1, count: 3 })]);
    assert_eq!(done.next.expect("it stays").dead, []);
}

#[test]
fn a_dead_letter_waits_for_its_turn() {
    let webhook = dead();
    let busy = next(&webhook, finished(&webhook, found(20, 1)), later(11_000));
    let asked = next(&busy, command(Command::Redeliver { numbers: vec![1] }), later(11_000));
    assert_eq!(asked.state, busy.state, "what is under way is not given up");
    let after = next(&asked, finished(&asked, Finished::Delivered), later(11_000));
    assert!(matches!(after.state, State::Sending(Delivery { number: 1, .. })), "{after:?}");
}

#[test]
fn the_receivers_410_disables_and_enabling_goes_on_where_it_was() {
    let webhook = sending();
    let step = take(&webhook, finished(&webhook, Finished::Gone), NOW);
    assert_eq!(step.events[0].name, "webhook-disabled");
    let disabled = step.next.expect("it stays");
    assert_eq!((disabled.cursor, &disabled.state), (5, &State::Disabled(BecauseOf::Receiver)));
    assert_eq!(disabled.generation, Generation(2));
    let step = take(&disabled, enabled(true), NOW);
    assert_eq!(step.effect, Some(Effect::Find { after: 5 }));
}

/// Nothing is tried and set aside for want of a signature: a new secret goes on with the same delivery's events.
#[test]
fn without_its_secret_it_waits_and_a_new_one_goes_on_where_it_was() {
    for before in [sending(), waiting()] {
        let step = take(&before, Input::SecretMissing, NOW);
        assert_eq!((step.events[0].name, step.letters.len()), ("webhook-disabled", 0));
        let disabled = step.next.expect("it stays");
        assert_eq!((disabled.cursor, &disabled.state), (5, &State::Disabled(BecauseOf::Secret)));
        let mend = Change { secret: Some(3), ..Change::default() };
        let step = take(&disabled, command(Command::Update(mend.clone())), NOW);
        assert_eq!(step.effect, Some(Effect::Find { after: 5 }));
        let mended = step.next.expect("it stays");
        assert_eq!((mended.secret, mended.secret_name()), (3, format!("{}_0000000000000003", mended.id)));
        // A person who disabled it meanwhile is heard.
        let held = next(&disabled, enabled(false), NOW);
        let held = next(&held, command(Command::Update(mend)), NOW);
        assert_eq!(held.state, State::Disabled(BecauseOf::Person));
    }
}

#[test]
fn what_is_no_longer_kept_becomes_a_resync() {
    for before in [new(), sending()] {
        let webhook = next(&before, finished(&before, Finished::Expired { oldest: 21 }), NOW);
        assert!(matches!(webhook.state, State::Sending(Delivery { what: What::Resync { upto: 20 }, .. })), "{webhook:?}");
        let webhook = next(&webhook, finished(&webhook, Finished::Delivered), NOW);
        assert_eq!((webhook.cursor, webhook.delivered), (20, 0));
    }
}

/// Random inputs, from a small generator of our own: the invariants hold, the cursor never goes back, and every number is given once.
#[test]
fn any_order_of_inputs_keeps_the_invariants() {
    for seed in 1..=300u64 {
        let mut random = seed;
        let mut draw = move |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let (mut webhook, mut now) = (new(), NOW);
        for _ in 0..200 {
            now = Timestamp(now.0 + draw(6_000));
            let ahead = webhook.cursor + 1 + draw(5);
            let attempt = Attempt(webhook.attempt.0 - draw(2).min(webhook.attempt.0));
            let finished = |result, jitter| Input::Finished { attempt, result, jitter };
            let jitter = u16::try_from(draw(1_001)).expect("small");
            let numbers = webhook.dead.iter().take(usize::try_from(draw(3)).expect("small")).map(|dead| dead.number).collect();
            let input = match draw(15) {
                0..=3 => finished(found(ahead, 1), jitter),
                4 => finished(Finished::Skipped { upto: ahead }, jitter),
                5 => finished(Finished::Expired { oldest: ahead + 1 }, jitter),
                6 => finished(Finished::Delivered, jitter),
                7 | 8 => finished(failure(), jitter),
                9 if draw(8) == 0 => finished(Finished::Gone, jitter),
                9 | 10 => Input::Elapsed { attempt },
                11 => command(Command::Redeliver { numbers }),
                12 => Input::Recovered,
                13 if draw(8) == 0 => Input::SecretMissing,
                _ => enabled(draw(4) != 0),
            };
            let Ok(step) = step(&webhook, input.clone(), now) else { continue };
            let after = step.next.expect("nobody deletes it");
            invariant::check(&after).unwrap_or_else(|broken| panic!("seed {seed}: {broken} after {input:?}: {after:?}"));
            assert!(after.cursor >= webhook.cursor && after.deliveries >= webhook.deliveries, "seed {seed}: {input:?}");
            webhook = after;
        }
    }
}
