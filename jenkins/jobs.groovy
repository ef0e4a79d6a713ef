// The three pipelines as jobs; each learns its schedule and its parameters from its first run.
[code: 'Jenkinsfile', data: 'jenkins/data.Jenkinsfile', training: 'jenkins/training.Jenkinsfile'].each { job, path ->
    pipelineJob(job) {
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
