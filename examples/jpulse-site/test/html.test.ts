import t from 'tap'
import { html } from '../src/html.ts'

t.test('values are escaped, in text and in quoted attributes', async (t) => {
  t.equal(String(html`<a title="${'"\'<>&'}">${'<script>'}</a>`), '<a title="&quot;&#39;&lt;&gt;&amp;">&lt;script&gt;</a>')
})

t.test('markup within markup stays, and what it holds is escaped once', async (t) => {
  t.equal(String(html`<ul>${['a&b', 'c'].map((item) => html`<li>${item}</li>`)}</ul>`), '<ul><li>a&amp;b</li><li>c</li></ul>')
})

t.test('only markup counts as markup: an object that prints as some is escaped', async (t) => {
  t.equal(String(html`${{ toString: () => '<b>' }}`), '&lt;b&gt;')
})

t.test('undefined, null and false leave nothing; zero and empty text are themselves', async (t) => {
  t.equal(String(html`[${undefined}${null}${false}${''}${0}]`), '[0]')
})
