// The page as a function of what it knows.

import { type Book, sorted, summary } from "./books";

export interface Actions {
  add(form: HTMLFormElement): void;
  mark(book: Book): void;
  remove(book: Book): void;
}

export interface Shown {
  books: readonly Book[];
  problem?: string;
  actions: Actions;
}

function Row({ book, actions }: { book: Book; actions: Actions }) {
  return (
    <li class={book.read ? "read" : ""}>
      <input type="checkbox" checked={book.read} aria-label={`read ${book.title}`} onChange={() => actions.mark(book)} />
      <span class="title">{book.title}</span>
      <span class="author">{book.author}</span>
      <button type="button" aria-label={`remove ${book.title}`} onClick={() => actions.remove(book)}>
        ×
      </button>
    </li>
  );
}

export function Shelf({ books, problem, actions }: Shown) {
  return (
    <>
      <h1>
        Shelf <small>{summary(books)}</small>
      </h1>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          actions.add(event.currentTarget);
        }}
      >
        <input name="title" placeholder="Title" required maxLength={200} />
        <input name="author" placeholder="Author" maxLength={200} />
        <button type="submit">Add</button>
      </form>
      {problem ? <p class="problem">{problem}</p> : null}
      <ul>
        {sorted(books).map((book) => (
          <Row key={book.id} book={book} actions={actions} />
        ))}
      </ul>
    </>
  );
}
