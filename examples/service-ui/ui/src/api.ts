// The service's HTTP interface, as the page uses it.

import type { Book, Draft } from "./books";

async function call<T>(path: string, method = "GET", body?: unknown): Promise<T> {
  const response = await fetch(path, {
    method,
    headers: body === undefined ? {} : { "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!response.ok) {
    const problem = (await response.json().catch(() => ({}))) as { error?: string };
    throw new Error(problem.error ?? `the service answered ${response.status}`);
  }
  return (response.status === 204 ? undefined : await response.json()) as T;
}

export const listBooks = () => call<Book[]>("/api/books");
export const addBook = (draft: Draft) => call<Book>("/api/books", "POST", draft);
export const markRead = (id: number, read: boolean) => call<Book>(`/api/books/${id}`, "PATCH", { read });
export const removeBook = (id: number) => call<void>(`/api/books/${id}`, "DELETE");
