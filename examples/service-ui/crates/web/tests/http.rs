//! The router as a client sees it, over a database in memory.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};
use shelf_store::Store;
use tower::ServiceExt;

async fn service() -> Router {
    shelf_web::router(Store::open("sqlite::memory:").await.unwrap())
}

async fn call(service: &Router, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    let request = Request::builder().method(method).uri(path);
    let request = match body {
        Some(body) => request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    };
    let response = service.clone().oneshot(request.unwrap()).await.unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

#[tokio::test]
async fn health_counts_the_books() {
    let service = service().await;
    call(&service, "POST", "/api/books", Some(json!({ "title": "Emma" }))).await;
    assert_eq!(call(&service, "GET", "/healthz", None).await, (StatusCode::OK, json!({ "status": "ok", "books": 1 })));
}

#[tokio::test]
async fn a_book_lives_from_added_to_removed() {
    let service = service().await;
    let (status, book) =
        call(&service, "POST", "/api/books", Some(json!({ "title": "Emma", "author": "Austen" }))).await;
    assert_eq!(status, StatusCode::CREATED);
    let path = format!("/api/books/{}", book["id"]);
    let (_, read) = call(&service, "PATCH", &path, Some(json!({ "read": true }))).await;
    assert_eq!(read["read"], true);
    assert_eq!(call(&service, "DELETE", &path, None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(call(&service, "GET", "/api/books", None).await.1, json!([]));
}

#[tokio::test]
async fn problems_are_said_as_json() {
    let service = service().await;
    for (method, path, body, status) in [
        ("POST", "/api/books", json!({ "title": " " }), StatusCode::UNPROCESSABLE_ENTITY),
        ("POST", "/api/books", json!({ "name": "Emma" }), StatusCode::UNPROCESSABLE_ENTITY),
        ("PATCH", "/api/books/7", json!({ "read": true }), StatusCode::NOT_FOUND),
    ] {
        let (found, answer) = call(&service, method, path, Some(body)).await;
        assert_eq!(found, status);
        assert!(answer["error"].is_string(), "{answer}");
    }
}

#[tokio::test]
async fn the_page_is_served_and_its_parts_may_be_cached() {
    let service = service().await;
    let request = Request::builder().uri("/").body(Body::empty()).unwrap();
    let response = service.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-cache");
    assert_eq!(call(&service, "GET", "/no/such/file", None).await.0, StatusCode::NOT_FOUND);
}
