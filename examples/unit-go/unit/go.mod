module nginx/unit

go 1.19
