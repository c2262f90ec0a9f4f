// Starts the page: fetches the books, draws them, and draws again after each action.

import { render } from "preact";
import { addBook, listBooks, markRead, removeBook } from "./api";
import { type Book, finished } from "./books";
import { type Actions, Shelf } from "./view";

const root = document.getElementById("shelf") as HTMLElement;
let books: Book[] = [];

function draw(problem?: string): void {
  render(<Shelf books={books} problem={problem} actions={actions} />, root);
}

async function change(action: () => Promise<unknown>): Promise<void> {
  try {
    await action();
    books = await listBooks();
    draw();
  } catch (error) {
    draw(error instanceof Error ? error.message : String(error));
  }
}

const actions: Actions = {
  add(form) {
    const data = new FormData(form);
    const draft = finished({ title: String(data.get("title")), author: String(data.get("author")) });
    if (draft) void change(async () => (await addBook(draft), form.reset()));
  },
  mark: (book) => void change(() => markRead(book.id, !book.read)),
  remove: (book) => void change(() => removeBook(book.id)),
};

void change(async () => {});
