import { expect, test } from "bun:test";
import { render } from "preact-render-to-string";
import { type Actions, Shelf } from "../src/view";

const actions: Actions = { add() {}, mark() {}, remove() {} };

test("a read book is drawn as read", () => {
  const html = render(<Shelf books={[{ id: 1, title: "Emma", author: "Austen", read: true }]} actions={actions} />);
  expect(html).toContain('<li class="read">');
  expect(html).toContain("1 book, 1 read");
});

test("a title is text, never markup", () => {
  const html = render(<Shelf books={[{ id: 1, title: "<b>x", author: "", read: false }]} actions={actions} />);
  expect(html).toContain("&lt;b>x");
  expect(html).not.toContain("<b>x");
});

test("a problem is shown", () => {
  expect(render(<Shelf books={[]} problem="no such book" actions={actions} />)).toContain("no such book");
});
