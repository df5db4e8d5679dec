// The sentences as they were written. That the packages of the suite go together is said once, in docs/releasing.md.

module.exports = {
  getReleaseLine: async ({ summary }) => `- ${summary.trim().replaceAll('\n', '\n  ')}`,
  getDependencyReleaseLine: async () => ''
}
