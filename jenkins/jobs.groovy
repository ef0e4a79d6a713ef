// The three pipelines as jobs. Each learns its parameters from its first run, and its schedule here, so that nobody
// has to start it: the same that its own file says, as every start of Jenkins makes the jobs anew.
String everyFiveMinutes = 'H/5 * * * *'
Map<String, String> files = [
    code: 'Jenkinsfile', data: 'jenkins/data.Jenkinsfile', training: 'jenkins/training.Jenkinsfile',
]
Map<String, String> nightly = [data: 'H 1 * * *', training: 'H 2 * * *']

files.each { job, path ->
    pipelineJob(job) {
        properties {
            pipelineTriggers {
                triggers {
                    if (nightly[job]) {
                        cron {
                            spec(nightly[job])
                        }
                    } else {
                        pollSCM {
                            scmpoll_spec(everyFiveMinutes)
                        }
                    }
                }
            }
        }
        definition {
            cpsScm {
                scm {
                    git {
                        remote {
                            url(System.getenv('JENKINS_REPOSITORY'))
                        }
                        branch('*/main')
                    }
                }
                scriptPath(path)
            }
        }
    }
}
