//! A line chart of the last five minutes: SVG lines, and axes in HTML so that letters keep their size at every width. The value under the
//! pointer, or under the arrow keys, is shown and read out.

use model::format;
use model::series::{Point, WINDOW_MS, nearest, nice_top, path, place};
use web_sys::HtmlElement;
use yew::prelude::*;

/// The drawing's own units; it is stretched to the space there is.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 160.0;
/// An arrow key moves by five seconds.
const KEY_STEP: f64 = 5_000.0 / WINDOW_MS as f64;

#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub name: &'static str,
    pub points: Vec<Point>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Percent,
    Bytes,
    Rate,
    Load,
}

impl Unit {
    fn write(self, value: f64) -> String {
        match self {
            Unit::Percent => format::percent(value),
            Unit::Bytes => format::bytes(value),
            Unit::Rate => format::rate(value),
            Unit::Load => format!("{value:.2}"),
        }
    }

    /// Round numbers of bytes are powers of two.
    fn binary(self) -> bool {
        matches!(self, Unit::Bytes | Unit::Rate)
    }
}

#[derive(PartialEq, Properties)]
pub struct Props {
    pub title: AttrValue,
    /// One or two, told apart by colour, dash and name.
    pub lines: Vec<Line>,
    /// The top of the axis; absent: a round number above the largest value.
    #[prop_or_default]
    pub top: Option<f64>,
    pub unit: Unit,
    pub end_ms: u64,
}

#[component]
pub fn Chart(props: &Props) -> Html {
    let along = use_state(|| None::<f64>);
    let largest = props.lines.iter().flat_map(|line| &line.points).map(|point| point.value).fold(0.0, f64::max);
    let top = props.top.unwrap_or_else(|| nice_top(largest, props.unit.binary()));
    let onpointermove = {
        let along = along.clone();
        Callback::from(move |event: PointerEvent| {
            let plot: HtmlElement = event.target_unchecked_into();
            let width = f64::from(plot.client_width().max(1));
            along.set(Some((f64::from(event.offset_x()) / width).clamp(0.0, 1.0)));
        })
    };
    let clear = {
        let along = along.clone();
        move || along.set(None)
    };
    let (leave, blur) = (clear.clone(), clear);
    let onkeydown = {
        let along = along.clone();
        Callback::from(move |event: KeyboardEvent| {
            let step = match event.key().as_str() {
                "ArrowLeft" => -KEY_STEP,
                "ArrowRight" => KEY_STEP,
                _ => return,
            };
            event.prevent_default();
            along.set(Some((along.unwrap_or(1.0) + step).clamp(0.0, 1.0)));
        })
    };
    let read: Vec<Option<Point>> = props
        .lines
        .iter()
        .map(|line| match *along {
            Some(along) => nearest(&line.points, props.end_ms, along),
            None => line.points.last().copied(),
        })
        .collect();
    let cursor = along.and_then(|_| read.iter().flatten().next()).map(|point| place(point, props.end_ms, top, 1.0, 1.0).0);
    html! {
        <figure class="chart">
            <figcaption>
                <h3>{ &props.title }</h3>
                <span class="legend" aria-live={along.is_some().then_some("polite")}>
                    { for props.lines.iter().zip(&read).enumerate().map(|(at, (line, point))| html! {
                        <span class={format!("line-{at}")}>
                            if props.lines.len() > 1 { <i aria-hidden="true"></i>{ line.name }{ " " } }
                            <b>{ point.map_or_else(|| "–".to_owned(), |point| props.unit.write(point.value)) }</b>
                        </span>
                    }) }
                    if let (Some(_), Some(point)) = (*along, read.iter().flatten().next()) {
                        <small>{ age(props.end_ms, point.time_ms) }</small>
                    }
                </span>
            </figcaption>
            <div class="plot-row">
                <div class="axis-y" aria-hidden="true">
                    <span>{ props.unit.write(top) }</span><span>{ props.unit.write(top / 2.0) }</span><span>{ props.unit.write(0.0) }</span>
                </div>
                <div class="plot" tabindex="0" role="img" aria-label={format!("{}, last five minutes; arrow keys read values", props.title)}
                    {onpointermove} onpointerleave={move |_: PointerEvent| leave()} onblur={move |_: FocusEvent| blur()} {onkeydown}>
                    <svg viewBox={format!("0 0 {WIDTH} {HEIGHT}")} preserveAspectRatio="none" aria-hidden="true">
                        { for [0.0, 0.5, 1.0].map(|share| html! {
                            <line class="grid" x1="0" x2={WIDTH.to_string()} y1={(share * HEIGHT).to_string()} y2={(share * HEIGHT).to_string()} />
                        }) }
                        { for props.lines.iter().enumerate().map(|(at, line)| html! {
                            <path class={format!("line line-{at}")} d={path(&line.points, props.end_ms, top, WIDTH, HEIGHT)} />
                        }) }
                    </svg>
                    if let Some(x) = cursor {
                        <i class="cursor" style={format!("left:{:.2}%", x * 100.0)}></i>
                    }
                </div>
            </div>
            <div class="axis-x" aria-hidden="true"><span>{ "5 min ago" }</span><span>{ "2½ min" }</span><span>{ "now" }</span></div>
        </figure>
    }
}

fn age(end_ms: u64, time_ms: u64) -> String {
    match end_ms.saturating_sub(time_ms) / 1_000 {
        0 => "now".to_owned(),
        seconds => format!("{} ago", format::duration(seconds)),
    }
}
