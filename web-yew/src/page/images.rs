//! The list of images: what machines boot from, and which do.

use super::image_import::ImageImport;
use super::parts::{Head, ListEnd};
use crate::hearth::{Telling, use_hearth};
use crate::link::http::Accepted;
use crate::route::Route;
use crate::ui::{Ago, Button, Copyable, Dialog, Empty, Glyph, ProblemNotice, Search, Skeleton, Tone, badge_for, labels_view};
use api::problem::Problem;
use api::v1::Image;
use model::action::Availability;
use model::encode::segment;
use model::filter::Filter;
use model::format::{bytes, plural, sentence, short_digest};
use model::order;
use model::resource::{Kind, Shared};
use yew::prelude::*;
use yew_router::prelude::*;

/// Names of users in a row; beyond it only their number.
const USERS_SHOWN: usize = 3;

#[derive(PartialEq, Properties)]
pub struct Props {
    pub importing: bool,
}

#[component]
pub fn Images(props: &Props) -> Html {
    let hearth = use_hearth();
    let navigator = use_navigator();
    let query = use_state(String::new);
    let deleting = use_state(|| None::<Shared<Image>>);
    let images = &hearth.store().images;
    let filter = Filter::parse(&query);
    let mut rows: Vec<_> = images.rows().filter(|image| filter.matches(&***image)).cloned().collect();
    order::by(&mut rows, |a, b| (a.spec.kind.as_str(), &a.name).cmp(&(b.spec.kind.as_str(), &b.name)));
    let go = |route: Route| {
        let navigator = navigator.clone();
        Callback::from(move |()| {
            if let Some(navigator) = &navigator {
                navigator.push(&route);
            }
        })
    };
    let import = html! {
        <Button label="Import image" icon={Glyph::Plus} tone={Tone::Primary} onclick={go(Route::ImageImport)} testid="image-import-open" />
    };
    html! {
        <>
            <Head title="Images">
                <Search label="Filter by name, label or state" value={(*query).clone()} oninput={let query = query.clone(); move |text| query.set(text)} />
                { import.clone() }
            </Head>
            if images.pending() {
                <div class="card"><Skeleton /></div>
            } else if images.is_empty() {
                if images.error.is_none() {
                    <Empty glyph={Glyph::Image} title="No image yet">
                        <p>{ "A machine needs a kernel and a root file system. Import both from files on the host." }</p>
                        { import }
                    </Empty>
                }
            } else if rows.is_empty() {
                <Empty glyph={Glyph::Search} title="No image matches">
                    <Button label="Clear filter" onclick={let query = query.clone(); move |()| query.set(String::new())} />
                </Empty>
            } else {
                <div class="card table-card">
                    <table class="cards-on-phone">
                        <thead><tr><th>{ "Name" }</th><th>{ "Kind" }</th><th>{ "State" }</th><th>{ "Size" }</th><th>{ "Digest" }</th>
                            <th>{ "Used by" }</th><th>{ "Imported" }</th><th><span class="sr-only">{ "Actions" }</span></th></tr></thead>
                        <tbody>
                            { for rows.iter().map(|image| {
                                let (deleting, chosen) = (deleting.clone(), image.clone());
                                html! { <Row key={image.id.clone()} image={image.clone()}
                                    ondelete={Callback::from(move |()| deleting.set(Some(chosen.clone())))} /> }
                            }) }
                        </tbody>
                    </table>
                </div>
            }
            <ListEnd kind={Kind::Image} more={images.more.clone()} error={images.error.clone()} />
            if props.importing { <ImageImport onclose={go(Route::Images)} /> }
            if let Some(image) = &*deleting {
                <DeleteDialog image={image.clone()} onclose={let deleting = deleting.clone(); move |()| deleting.set(None)} />
            }
        </>
    }
}

#[derive(PartialEq, Properties)]
struct RowProps {
    image: Shared<Image>,
    ondelete: Callback<()>,
}

#[component]
fn Row(props: &RowProps) -> Html {
    let hearth = use_hearth();
    let image = &props.image;
    let status = &image.status;
    html! {
        <tr data-testid={format!("image-row-{}", image.name)}>
            <th scope="row" data-label="Name"><span title={image.spec.path.clone()}>{ &image.name }</span>
                if image.spec.default { <span class="label">{ "default" }</span> }
                { labels_view(&image.labels) }
                if let Some(description) = &image.spec.description { <small class="muted">{ description }</small> }
            </th>
            <td data-label="Kind">{ image.spec.kind.as_str() }</td>
            <td data-label="State">{ badge_for(status.state.as_str(), &format!("image-state-{}", image.name)) }
                if let Some(reason) = &status.reason { <small class="bad-text">{ sentence(&reason.detail) }</small> }
            </td>
            <td data-label="Size" class="nowrap">{ bytes(status.size_bytes as f64) }</td>
            <td data-label="Digest">
                if let Some(digest) = &status.digest { <Copyable text={digest.clone()} shown={AttrValue::from(short_digest(digest).to_owned())} /> } else { { "–" } }
            </td>
            <td data-label="Used by">
                if status.used_by_count == 0 { <span class="muted">{ "nobody" }</span> }
                { for status.used_by.iter().take(USERS_SHOWN).map(|id| {
                    let name = hearth.store().vms.get(id).map_or_else(|| id.clone(), |vm| vm.name.clone());
                    html! { <span class="user"><Link<Route> to={Route::Vm { id: id.clone() }}>{ name }</Link<Route>></span> }
                }) }
                if status.used_by_count > USERS_SHOWN as u64 {
                    <span class="muted">{ format!(" and {} more", status.used_by_count - USERS_SHOWN as u64) }</span>
                }
            </td>
            <td data-label="Imported" class="nowrap muted"><Ago time={image.created_at} /></td>
            <td class="row-tools">
                <Button label={format!("Delete {}", image.name)} icon_only={true} icon={Glyph::Trash} tone={Tone::Ghost} onclick={props.ondelete.clone()}
                    availability={Availability::of("delete", &status.actions, &status.refused)} />
            </td>
        </tr>
    }
}

#[derive(PartialEq, Properties)]
struct DeleteProps {
    image: Shared<Image>,
    onclose: Callback<()>,
}

#[component]
fn DeleteDialog(props: &DeleteProps) -> Html {
    let hearth = use_hearth();
    let busy = use_state(|| false);
    let problem = use_state(|| None::<Problem>);
    // As it is now: between opening the dialog and agreeing, it may have changed.
    let image = hearth.store().images.get(&props.image.id).cloned().unwrap_or_else(|| props.image.clone());
    let delete = {
        let (hearth, image, busy, problem, onclose) =
            (hearth.clone(), image.clone(), busy.clone(), problem.clone(), props.onclose.clone());
        Callback::from(move |()| {
            busy.set(true);
            let telling =
                Telling { done: format!("{} is deleted", image.name), failed: format!("{} was not deleted", image.name) };
            let (api, path) = (hearth.live.api().clone(), format!("/v1/images/{}", segment(&image.id)));
            let generation = image.generation;
            let (busy, problem, onclose) = (busy.clone(), problem.clone(), onclose.clone());
            let ended = Callback::from(move |answer: Result<Accepted, Problem>| match answer {
                Ok(_) => onclose.emit(()),
                Err(found) => {
                    problem.set(Some(found));
                    busy.set(false);
                }
            });
            hearth.run(async move { api.delete(&path, generation).await }, telling, ended);
        })
    };
    html! {
        <Dialog title={format!("Delete image {}?", image.name)} onclose={props.onclose.clone()}>
            <div class="form">
                if let Some(problem) = &*problem { <ProblemNotice problem={problem.clone()} /> }
                <p>{ format!("hearth's copy of {} is removed; the file it was imported from stays. {} it.", bytes(image.status.size_bytes as f64),
                    if image.status.used_by_count == 0 { "Nobody uses".to_owned() } else { format!("{} still use", plural(image.status.used_by_count, "machine", "machines")) }) }</p>
                <footer>
                    <Button label="Cancel" onclick={props.onclose.clone()} />
                    <Button label="Delete image" tone={Tone::Danger} busy={*busy} onclick={delete} />
                </footer>
            </div>
        </Dialog>
    }
}
