// What the page knows about books: plain values and functions, tested without a browser.

export interface Book {
  id: number;
  title: string;
  author: string;
  read: boolean;
}

export interface Draft {
  title: string;
  author: string;
}

/** Unread books first, then by title as people sort them. */
export function sorted(books: readonly Book[]): Book[] {
  return [...books].sort((a, b) => Number(a.read) - Number(b.read) || a.title.localeCompare(b.title, "en"));
}

/** "3 books, 1 read" */
export function summary(books: readonly Book[]): string {
  const read = books.filter((book) => book.read).length;
  const noun = books.length === 1 ? "book" : "books";
  return `${books.length} ${noun}, ${read} read`;
}

/** The draft without outer white space, or nothing when it has no title. */
export function finished(draft: Draft): Draft | undefined {
  const title = draft.title.trim();
  return title ? { title, author: draft.author.trim() } : undefined;
}
