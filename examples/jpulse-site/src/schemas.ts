import { Failure } from '@jpulse/plugin-kit'
import { Type } from 'typebox'

export const Page = Type.String({ description: 'An HTML page' })

/** An error at the address of a page: a page for people, the envelope for programs. */
export const PageFailure = {
  description: 'An error',
  content: { 'text/html': { schema: Page }, 'application/json': { schema: Failure } }
}
