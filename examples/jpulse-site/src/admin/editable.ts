import { PERSON } from '../pages/people.ts'

/** The flags that mean something to this site. */
export const FEATURES = [
  { name: 'banner', about: 'Shows the template "banner" on the home page.' },
  { name: 'sign-up-closed', about: 'Nobody new can sign up.' }
] as const

/** The documents that an administrator can edit, with what holds while nothing is stored. */
export const DOCUMENTS = [
  { collection: 'config', key: 'site', about: 'Text at the foot of each page.', initial: { footer: '' } },
  { collection: 'doctypes', key: 'person', about: 'The columns of the listing of people.', initial: PERSON }
] as const
