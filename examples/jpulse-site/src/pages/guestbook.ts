import { type Entry, MESSAGE_MAX, NAME_MAX } from '../guestbook/guestbook.ts'
import { type Html, html } from '../html.ts'

export interface GuestBookView {
  /** Undefined while the entries are out of reach. */
  entries: readonly Entry[] | undefined
  /** Whether the entries outlive this process. */
  shared: boolean
  /** Whether the visitor may take entries out. */
  mayRemove?: boolean
  /** The visitor has just signed. */
  signed?: boolean
  /** What the visitor typed and what is wrong with it. */
  form?: { name: string, message: string, problems: Readonly<Partial<Record<'name' | 'message', string>>> }
}

export function guestBookPage (view: GuestBookView): Html {
  return guestBookSection(view, html`<h1 id="guestbook">Guest book</h1>`)
}

export function guestBookSection (view: GuestBookView, heading: Html): Html {
  return html`
    <section class="book" aria-labelledby="guestbook">
      ${heading}${view.entries === undefined
      ? html`
      <p class="card notice" role="status">The guest book is out of reach: its database does not answer. Everything else
      works, and the entries come back by themselves.</p>`
      : html`${view.signed && html`
      <p class="card thanks" role="status">Thank you, your entry is in the book.</p>`}
      <div class="columns">
        ${form(view)}
        ${list(view)}
      </div>`}
    </section>`
}

function form ({ form }: GuestBookView): Html {
  const problem = (field: 'name' | 'message') => form?.problems[field] !== undefined && html`
          <p class="problem" id="${field}-problem">${form.problems[field]}</p>`
  const invalid = (field: 'name' | 'message') => form?.problems[field] !== undefined && html` aria-invalid="true" aria-describedby="${field}-problem"`
  return html`<form class="card" method="post" action="/guestbook">
          <label for="name">Your name</label>
          <input id="name" name="name" value="${form?.name}" maxlength="${NAME_MAX}" autocomplete="name" required${invalid('name')}>${problem('name')}
          <label for="message">Your message</label>
          <textarea id="message" name="message" rows="5" maxlength="${MESSAGE_MAX}" required${invalid('message')}>
${form?.message}</textarea>${problem('message')}
          <button type="submit">Sign the book</button>
        </form>`
}

function list ({ entries = [], shared, mayRemove = false }: GuestBookView): Html {
  return html`<div>${!shared && html`
          <p class="hint">Entries live in this process and go when it stops.</p>`}${entries.length === 0
          ? html`
          <p class="hint">Nobody has signed yet. Be the first.</p>`
          : html`
          <ol class="entries">${entries.map((entry) => html`
            <li class="card">
              <p class="message">${entry.message}</p>
              <p class="by"><strong>${entry.name}</strong> <time datetime="${entry.createdAt}">${date.format(new Date(entry.createdAt))} UTC</time></p>${mayRemove && html`
              <form method="post" action="/admin/guestbook/remove"><input type="hidden" name="id" value="${entry.id}"><button type="submit" class="quiet" aria-label="Remove the entry of ${entry.name}">Remove</button></form>`}
            </li>`)}
          </ol>`}
        </div>`
}

const date = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short', timeZone: 'UTC' })
