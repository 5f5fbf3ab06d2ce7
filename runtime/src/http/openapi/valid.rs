//! What makes the document a valid one and true in what the annotations can't say: ids that are unique, a description of each response, reads
//! that answer 304, bodies that may be left out but are no `null`.

use axum::http::StatusCode;
use utoipa::openapi::{
    OpenApi, Ref, RefOr, Required, ResponseBuilder, Schema,
    path::{Operation, ParameterBuilder, ParameterIn},
    schema::{ObjectBuilder, Type},
};

pub(super) fn make(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete].into_iter().flatten() {
            named(operation);
            conditional(operation);
            described(operation);
            body(operation);
        }
    }
}

/// The annotations name an operation by its function; every kind has a `list`.
fn named(operation: &mut Operation) {
    if let (Some(tag), Some(id)) = (operation.tags.as_ref().and_then(|tags| tags.first()), &operation.operation_id) {
        operation.operation_id = Some(format!("{tag}_{id}"));
    }
}

/// What is read with its ETag need not be sent again. Changes carry an ETag too, but take If-Match.
fn conditional(operation: &mut Operation) {
    let tagged = |response: &RefOr<utoipa::openapi::Response>| matches!(response, RefOr::T(response) if response.headers.contains_key("ETag"));
    let changes = operation.responses.responses.contains_key("412");
    if changes || !operation.responses.responses.get("200").is_some_and(tagged) {
        return;
    }
    let parameter = ParameterBuilder::new()
        .name("If-None-Match")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("ETags that the client has; 304 when the resource's is one of them"))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)));
    operation.parameters.get_or_insert_default().push(parameter.build().into());
    let response = ResponseBuilder::new().description("unchanged since that ETag").build();
    operation.responses.responses.insert("304".to_owned(), RefOr::T(response));
}

fn described(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            let reason = status.parse().ok().and_then(|code| StatusCode::from_u16(code).ok()?.canonical_reason());
            response.description = reason.unwrap_or("what was asked for").to_owned();
        }
    }
}

/// An optional body is written as "this or null"; `null` is refused.
fn body(operation: &mut Operation) {
    let Some(RefOr::T(body)) = &mut operation.request_body else { return };
    for content in body.content.values_mut() {
        if let RefOr::T(content) = content
            && let Some(RefOr::T(Schema::OneOf(one_of))) = &content.schema
            && let Some(only) = one_of.items.iter().find_map(reference)
        {
            content.schema = Some(RefOr::Ref(only));
        }
    }
}

fn reference(item: &RefOr<Schema>) -> Option<Ref> {
    match item {
        RefOr::Ref(reference) => Some(reference.clone()),
        RefOr::T(_) => None,
    }
}
