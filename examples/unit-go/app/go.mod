module app

go 1.19

require nginx/unit v0.0.0

replace nginx/unit => ../unit
