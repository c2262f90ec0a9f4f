//! The HTTP interface: `/healthz`, `/api/books`, and the page for everything else.

mod error;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use shelf_store::{Book, Draft, Store};

pub use error::ApiError;

#[derive(Serialize)]
struct Health {
    status: &'static str,
    books: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    read: bool,
}

/// All routes over a store.
pub fn router(store: Store) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/api/books", get(list).post(add))
        .route("/api/books/{id}", patch(mark).delete(remove))
        .fallback(get(page))
        .with_state(store)
}

async fn health(State(store): State<Store>) -> Result<Json<Health>, ApiError> {
    Ok(Json(Health { status: "ok", books: store.count().await? }))
}

async fn list(State(store): State<Store>) -> Result<Json<Vec<Book>>, ApiError> {
    Ok(Json(store.list().await?))
}

async fn add(
    State(store): State<Store>,
    draft: Result<Json<Draft>, JsonRejection>,
) -> Result<(StatusCode, Json<Book>), ApiError> {
    let Json(draft) = draft?;
    Ok((StatusCode::CREATED, Json(store.add(&draft).await?)))
}

async fn mark(
    State(store): State<Store>,
    Path(id): Path<i64>,
    mark: Result<Json<Mark>, JsonRejection>,
) -> Result<Json<Book>, ApiError> {
    let Json(mark) = mark?;
    Ok(Json(store.mark_read(id, mark.read).await?))
}

async fn remove(State(store): State<Store>, Path(id): Path<i64>) -> Result<StatusCode, ApiError> {
    store.remove(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn page(uri: Uri) -> Response {
    match shelf_assets::find(uri.path()) {
        Some(asset) => {
            let caching = if asset.immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
            ([(header::CONTENT_TYPE, asset.media_type), (header::CACHE_CONTROL, caching)], asset.bytes).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
