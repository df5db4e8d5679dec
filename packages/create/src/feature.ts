/** What an application is made for. */
export interface Project {
  /** Of the package and the folder. */
  name: string
  typescript: boolean
  features: readonly Feature[]
}

/** A text that may depend on what else is chosen. */
export type Part = (project: Project, ts: (code: string) => string) => string

/** A plugin of the suite, with a route that uses it and a test that shows what it promises. */
export interface Feature {
  /** As in `--plugins`. */
  name: string
  /** For a person who chooses. */
  about: string
  /** The package of the plugin. */
  plugin: string
  /** What its default export is called in the application. */
  local: string
  /** Options at its registration, as code. */
  options: string
  /** Further packages. */
  dependencies?: readonly string[]
  devDependencies?: readonly string[]
  /** Names of features that are registered before it. */
  needs?: readonly string[]
  /** Lines of the README about the routes. */
  routes: readonly string[]
  /** A plugin of the application, `src/routes/<name>`. */
  route?: Part
  /** `test/<name>.test`. */
  test: Part
}

export function has (project: Project, name: string): boolean {
  return project.features.some((feature) => feature.name === name)
}

/** The name without what a scope has: the first part of every key in Redis, and what PM2 calls the application. */
export function siteId (name: string): string {
  return name.replaceAll(/[^A-Za-z0-9._-]/g, '-').replace(/^-+/, '').slice(0, 64)
}
