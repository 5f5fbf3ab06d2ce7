//! What a page says when it has no rows to show: still loading, nothing there yet, or something wrong.

use super::icon::{Glyph, icon};
use api::problem::Problem;
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub struct NoticeProps {
    /// `info`, `warn` or `bad`.
    pub tone: &'static str,
    pub title: AttrValue,
    #[prop_or_default]
    pub children: Html,
}

#[component]
pub fn Notice(props: &NoticeProps) -> Html {
    let glyph = if props.tone == "info" { Glyph::Info } else { Glyph::Alert };
    html! {
        <div class={classes!("notice", props.tone)}>
            { icon(glyph) }
            <div><strong>{ &props.title }</strong>{ props.children.clone() }</div>
        </div>
    }
}

#[derive(PartialEq, Properties)]
pub struct ProblemProps {
    pub problem: Problem,
    #[prop_or_default]
    pub title: Option<AttrValue>,
}

/// The server's own words: what happened, what to do, and the number to quote.
#[component]
pub fn ProblemNotice(props: &ProblemProps) -> Html {
    let problem = &props.problem;
    let title = props.title.clone().unwrap_or_else(|| model::format::sentence(&problem.detail).into());
    html! {
        <div role="alert">
            <Notice tone="bad" {title}>
                if props.title.is_some() { <p>{ model::format::sentence(&problem.detail) }</p> }
                if !problem.hint.is_empty() { <p>{ model::format::sentence(&problem.hint) }</p> }
                { for problem.fields.iter().map(|field| html! { <p><code>{ &field.field }</code>{ ": " }{ &field.detail }</p> }) }
                if !problem.request_id.is_empty() { <p class="muted">{ "Request " }<code>{ &problem.request_id }</code></p> }
            </Notice>
        </div>
    }
}

#[derive(PartialEq, Properties)]
pub struct EmptyProps {
    pub glyph: Glyph,
    pub title: AttrValue,
    /// What to do next.
    #[prop_or_default]
    pub children: Html,
}

#[component]
pub fn Empty(props: &EmptyProps) -> Html {
    html! {
        <div class="empty">
            <span class="empty-icon">{ icon(props.glyph) }</span>
            <h2>{ &props.title }</h2>
            { props.children.clone() }
        </div>
    }
}

#[derive(PartialEq, Properties)]
pub struct SkeletonProps {
    #[prop_or(5)]
    pub rows: usize,
}

#[component]
pub fn Skeleton(props: &SkeletonProps) -> Html {
    html! {
        <div class="skeleton" role="status" aria-label="Loading">
            { for (0..props.rows).map(|row| html! { <div style={format!("--n:{row}")}><i></i><i></i><i></i></div> }) }
        </div>
    }
}
