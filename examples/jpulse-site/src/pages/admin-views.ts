import { html, type Html } from '../html.ts'

/** A flag as its forms show it. */
export interface FlagView {
  name: string
  about: string
  enabled: boolean
  /** Empty for all. */
  percentage: string
  targeting: string
  version: string
}

interface AdminView {
  saved: string | undefined
  flags: FlagView[]
  documents: Array<{ collection: string, key: string, about: string, value: unknown, version: string }>
  templates: Array<{ name: string, body: string, version: string }>
}

const LINKS = html`<ul class="links">
      <li><a class="button" href="/admin/cluster">Cluster dashboard</a></li>
      <li><a class="button" href="/admin/websockets">WebSockets</a></li>
      <li><a class="button" href="/admin/users">Users</a></li>
      <li><a class="button" href="/admin/audit">Audit log</a></li>
    </ul>`

export function adminPage ({ saved, flags, documents, templates }: AdminView): Html {
  return html`
    <section class="hero"><h1>Admin</h1>
    <p class="lead">A change is saved when no worker can serve what was before. No restart, no waiting.</p>${LINKS}</section>
    ${saved !== undefined && html`<p class="card thanks" role="status">Saved: ${saved}</p>`}
    <section class="card" aria-labelledby="flags"><h2 id="flags">Feature flags</h2><ul class="flags">${flags.map(flagItem)}</ul></section>
    <section class="card" aria-labelledby="templates"><h2 id="templates">Templates</h2>${templates.map(({ name, body, version }) => html`
      <form method="post" action="/admin/templates"><input type="hidden" name="version" value="${version}"><input type="hidden" name="name" value="${name}">
        <label for="template-${name}">${name}</label>
        <textarea id="template-${name}" name="body" rows="4" maxlength="20000" spellcheck="false">${'\n'}${body}</textarea>
        <p class="actions"><button type="submit" name="action" value="save" aria-label="Save template ${name}">Save</button> <button type="submit" name="action" value="reset" class="quiet" aria-label="Back to the file: ${name}">Back to the file</button></p></form>`)}</section>
    <section class="card" aria-labelledby="documents"><h2 id="documents">Configuration</h2>${documents.map(({ collection, key, about, value, version }) => html`
      <form method="post" action="/admin/config"><input type="hidden" name="version" value="${version}"><input type="hidden" name="collection" value="${collection}"><input type="hidden" name="key" value="${key}">
        <label for="document-${key}">${collection} / ${key}</label><p class="hint">${about}</p>
        <textarea id="document-${key}" name="value" rows="6" maxlength="20000" spellcheck="false">${'\n'}${JSON.stringify(value, null, 2)}</textarea>
        <p class="actions"><button type="submit" aria-label="Save document ${key}">Save</button></p></form>`)}</section>`
}

function flagItem ({ name, about, enabled, percentage, targeting, version }: FlagView): Html {
  const hidden = html`<input type="hidden" name="version" value="${version}"><input type="hidden" name="name" value="${name}">`
  return html`
      <li><div><code>${name}</code> <span class="state ${enabled ? 'up' : 'disabled'}">${enabled ? 'on' : 'off'}</span><p class="hint">${about}</p></div>
        <form method="post" action="/admin/features">${hidden}<input type="hidden" name="enabled" value="${enabled ? 'false' : 'true'}">
          <button type="submit" class="quiet" aria-label="Turn ${enabled ? 'off' : 'on'} ${name}">Turn ${enabled ? 'off' : 'on'}</button></form>
        <details${targeting !== '' || percentage !== '' ? html` open` : html``}><summary>For whom</summary>
          <form method="post" action="/admin/features/rules">${hidden}
            <label for="percentage-${name}">Percentage of those whom no rule is for; empty: all</label>
            <input id="percentage-${name}" name="percentage" type="number" min="0" max="100" step="1" value="${percentage}">
            <label for="targeting-${name}">Rules</label><p class="hint">JSON, such as <code>${RULES}</code>. There are <code>targetingKey</code>, the user name or address, <code>role</code> and <code>signedIn</code>.</p>
            <textarea id="targeting-${name}" name="targeting" rows="4" maxlength="20000" spellcheck="false">${'\n'}${targeting}</textarea>
            <p class="actions"><button type="submit" aria-label="Save for whom ${name} is on">Save</button></p></form></details></li>`
}

const RULES = '[{ "if": [{ "attribute": "role", "value": "admin" }], "variant": "on" }]'

/** A form that was not saved, as it was filled in. */
export interface Again {
  what: string
  problem: string
  action: string
  hidden: Record<string, string>
  /** Name of the field that holds `yours`; a flag has none. */
  field?: string
  yours: string
  /** What somebody else saved meanwhile. */
  theirs?: string
}

export function againPage ({ what, problem, action, hidden, field, yours, theirs }: Again): Html {
  return html`
    <section class="card"><h1>${what}</h1>
    <p class="notice" role="alert">${problem}</p>${theirs !== undefined && html`
    <h2>There now</h2><pre class="theirs">${theirs}</pre>`}
    <h2>Yours</h2>
    <form method="post" action="${action}">${Object.entries(hidden).map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`)}
      ${field === undefined ? html`<pre>${yours}</pre>` : html`<textarea name="${field}" aria-label="${what}" rows="12" maxlength="20000" spellcheck="false">${'\n'}${yours}</textarea>`}
      <p class="actions"><button type="submit">${theirs === undefined ? 'Save' : 'Save yours over it'}</button> <a class="button quiet" href="/admin/">Leave it as it is</a></p></form></section>`
}
