//! Books in SQLite. Every query is checked against the migrated schema when it is compiled; the answers are kept
//! in `.sqlx`, so that a build needs no database.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// One book on the shelf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Book {
    pub id: i64,
    pub title: String,
    pub author: String,
    pub read: bool,
}

/// What it takes to put a book on the shelf.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    pub title: String,
    #[serde(default)]
    pub author: String,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("there is no book {0}")]
    NotFound(i64),
    #[error("a title has 1 to 200 characters")]
    BadTitle,
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the database could not be migrated: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

/// The shelf. Clones share one pool of connections.
#[derive(Clone)]
pub struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Opens the database at `url` (`sqlite:PATH` or `sqlite::memory:`), creates and migrates it.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::from_str(url)?.create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
        // Every connection to `:memory:` is a database of its own.
        let connections = if url.contains(":memory:") { 1 } else { 4 };
        let pool = SqlitePoolOptions::new().max_connections(connections).connect_with(options).await?;
        MIGRATIONS.run(&pool).await?;
        Ok(Self { pool })
    }

    pub async fn count(&self) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar!("SELECT count(*) FROM books").fetch_one(&self.pool).await?)
    }

    pub async fn list(&self) -> Result<Vec<Book>, StoreError> {
        Ok(sqlx::query_as!(Book, "SELECT id, title, author, read FROM books ORDER BY id").fetch_all(&self.pool).await?)
    }

    pub async fn add(&self, draft: &Draft) -> Result<Book, StoreError> {
        let title = draft.title.trim();
        if title.is_empty() || title.chars().count() > 200 {
            return Err(StoreError::BadTitle);
        }
        let author = draft.author.trim();
        Ok(sqlx::query_as!(
            Book,
            "INSERT INTO books (title, author) VALUES (?, ?) RETURNING id, title, author, read",
            title,
            author
        )
        .fetch_one(&self.pool)
        .await?)
    }

    pub async fn mark_read(&self, id: i64, read: bool) -> Result<Book, StoreError> {
        sqlx::query_as!(
            Book,
            r#"UPDATE books SET read = ? WHERE id = ? RETURNING id AS "id!", title, author, read"#,
            read,
            id
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or(StoreError::NotFound(id))
    }

    pub async fn remove(&self, id: i64) -> Result<(), StoreError> {
        let done = sqlx::query!("DELETE FROM books WHERE id = ?", id).execute(&self.pool).await?;
        if done.rows_affected() == 0 { Err(StoreError::NotFound(id)) } else { Ok(()) }
    }
}
