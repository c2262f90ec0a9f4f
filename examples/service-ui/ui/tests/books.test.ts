import { expect, test } from "bun:test";
import { type Book, finished, sorted, summary } from "../src/books";

const book = (id: number, title: string, read = false): Book => ({ id, title, author: "", read });

test("unread books come first, then titles in order", () => {
  const books = [book(1, "Emma", true), book(2, "ulysses"), book(3, "Dune")];
  expect(sorted(books).map((b) => b.id)).toEqual([3, 2, 1]);
  expect(books[0]?.id).toBe(1);
});

test("the summary counts", () => {
  expect(summary([])).toBe("0 books, 0 read");
  expect(summary([book(1, "Emma", true)])).toBe("1 book, 1 read");
});

test("a draft needs a title", () => {
  expect(finished({ title: "  ", author: "x" })).toBeUndefined();
  expect(finished({ title: " Emma ", author: " Austen " })).toEqual({ title: "Emma", author: "Austen" });
});
