//! The store on a database in memory, migrated as in production.

use shelf_store::{Draft, Store, StoreError};

fn draft(title: &str) -> Draft {
    Draft { title: title.into(), author: "Austen".into() }
}

async fn empty() -> Store {
    Store::open("sqlite::memory:").await.expect("a database in memory")
}

#[tokio::test]
async fn a_new_book_is_unread_and_listed() {
    let store = empty().await;
    let book = store.add(&draft("  Emma ")).await.unwrap();
    assert_eq!((book.title.as_str(), book.read), ("Emma", false));
    assert_eq!(store.list().await.unwrap(), [book]);
    assert_eq!(store.count().await.unwrap(), 1);
}

#[tokio::test]
async fn a_title_must_be_there_and_not_endless() {
    let store = empty().await;
    for title in ["", "   ", &"x".repeat(201)] {
        assert!(matches!(store.add(&draft(title)).await, Err(StoreError::BadTitle)));
    }
    assert!(store.add(&draft(&"ü".repeat(200))).await.is_ok());
}

#[tokio::test]
async fn a_book_is_marked_and_removed() {
    let store = empty().await;
    let id = store.add(&draft("Emma")).await.unwrap().id;
    assert!(store.mark_read(id, true).await.unwrap().read);
    store.remove(id).await.unwrap();
    assert!(matches!(store.remove(id).await, Err(StoreError::NotFound(found)) if found == id));
    assert!(matches!(store.mark_read(id, true).await, Err(StoreError::NotFound(_))));
}
